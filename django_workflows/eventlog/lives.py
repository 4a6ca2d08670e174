"""The lives of a run: what counts of a log that ``retry_run`` reopened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .events import CREATIONS, RUN_TERMINALS, AttributesSet, Record, RunRetried, RunStarted


def effective(records: Sequence[Record]) -> list[Record]:
    """The records that a replay is fed: after a retry, without what the retry left out and without earlier ends.

    A ``run_retried`` names the sequences that it skips. The lives before it ended in a terminal event, which no longer
    holds.
    """
    last = max((index for index, record in enumerate(records) if record.type == RunRetried.type), default=-1)
    if last < 0:
        return list(records)
    skipped = _skipped(records)
    return [
        record
        for index, record in enumerate(records)
        if record.sequence not in skipped
        and record.type != RunRetried.type
        and not (index < last and record.type in RUN_TERMINALS)
    ]


def ended_before_it_began(records: Sequence[Record]) -> bool:
    """Whether the run was cancelled before any worker had advanced it: its body has never run, and does not on replay."""
    types = {record.type for record in records}
    return not types.isdisjoint(RUN_TERMINALS) and RunStarted.type not in types


def reserved_ids(records: Iterable[Record]) -> frozenset[str]:
    """Correlation ids of entities that a retry left out. They stay in the tables, so they are not given out again."""
    records = list(records)
    skipped = _skipped(records)
    named = (*CREATIONS, AttributesSet.type)
    return frozenset(r.correlation_id for r in records if r.sequence in skipped and r.type in named)


def skipped_by(retried: Record) -> frozenset[int]:
    """The sequences that a ``run_retried`` leaves out."""
    return frozenset(retried.payload.get("skipped") or ())


def _skipped(records: Iterable[Record]) -> set[int]:
    skipped: set[int] = set()
    for record in records:
        if record.type == RunRetried.type:
            skipped |= skipped_by(record)
    return skipped
