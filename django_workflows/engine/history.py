"""Logs as data: which records a replay is fed, and what it may know of those that it has not been fed yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from ..commands import Command, RecordPatch
from ..events import CREATIONS, RUN_TERMINALS, Record
from .matching import is_about

_TOKENS = ("hook_created", "hook_conflict")


def effective(records: Sequence[Record]) -> list[Record]:
    """The records that a replay is fed: after a retry, without what the retry left out and without earlier ends.

    A ``run_retried`` names the sequences that it skips. The lives before it ended in a terminal event, which no longer
    holds.
    """
    last = max((index for index, record in enumerate(records) if record.type == "run_retried"), default=-1)
    if last < 0:
        return list(records)
    skipped = _skipped(records)
    return [
        record
        for index, record in enumerate(records)
        if record.sequence not in skipped
        and record.type != "run_retried"
        and not (index < last and record.type in RUN_TERMINALS)
    ]


def reserved_ids(records: Iterable[Record]) -> frozenset[str]:
    """Correlation ids of entities that a retry left out. They stay in the tables, so they are not given out again."""
    records = list(records)
    skipped = _skipped(records)
    named = (*CREATIONS, "attributes_set")
    return frozenset(r.correlation_id for r in records if r.sequence in skipped and r.type in named)


def _skipped(records: Iterable[Record]) -> set[int]:
    skipped: set[int] = set()
    for record in records:
        if record.type == "run_retried":
            skipped.update(record.payload.get("skipped") or ())
    return skipped


class LookAhead:
    """What a replay takes from records that it has not been fed yet. The body learns of it only through ``patched()``.

    Tokens and children's ids are random: the first decision draws them, every replay finds them here.
    """

    __slots__ = ("_decisions", "children", "tokens")

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self.children: dict[str, str] = {}
        self._decisions: deque[Record] = deque()

    def scan(self, records: Iterable[Record]) -> None:
        """Note what later records decide."""
        for record in records:
            if not record.is_decision:
                continue
            self._decisions.append(record)
            if record.type in _TOKENS:
                self.tokens[record.correlation_id] = record.payload["token"]
            elif record.type == "child_started":
                self.children[record.correlation_id] = record.payload["child"]

    def passed(self, record: Record) -> None:
        """The record has been fed."""
        if self._decisions and self._decisions[0].sequence == record.sequence:
            self._decisions.popleft()

    def patched(self, patch: RecordPatch, pending: Iterable[Command]) -> bool:
        """Whether a run that now reaches the line of ``patch`` goes the new way.

        It does where the log records the patch. Else the log's next decisions are those that the body has already made
        (``pending``), and then either there are more: the run passed the line under code without the patch; or there
        are none: it gets here live. Other patches do not count, since their lines may have gone.
        """
        if any(is_about(patch, record) for record in self._decisions):
            return True
        made = iter(pending)
        rest = (record for record in self._decisions if record.type != "patch_recorded")
        return all(any(is_about(command, record) for command in made) for record in rest)

    def clear(self) -> None:
        self.tokens.clear()
        self.children.clear()
        self._decisions.clear()
