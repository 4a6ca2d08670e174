"""Upkeep of ended runs: remove those whose retention is over, erase what people put into them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from asgiref.sync import sync_to_async

from ..upkeep import erasure, retention
from ..upkeep.erasure import Erasure


@dataclass(slots=True)
class Pruned:
    """``removed``: how many runs. ``kept``: ids of runs that would have been, with what keeps them."""

    removed: int
    kept: dict[str, str]


def prune_runs(*, older_than: timedelta | None = None, workflow: str | None = None, batch: int = 1000) -> int:
    """Remove every ended run whose retention is over. Returns how many. Workers do so once a minute, too.

    ``older_than``: those that ended longer ago than that, whatever their retention. ``workflow``: of this name only.
    ``batch``: runs per transaction. Runs that another transaction holds, or that have yet to notify their parent, are
    left for the next call; so are those that a foreign key of the project protects (a warning in the log names them).
    """
    return prune(older_than=older_than, workflow=workflow, batch=batch).removed


def prune(*, older_than: timedelta | None = None, workflow: str | None = None, batch: int = 1000) -> Pruned:
    """Like :func:`prune_runs`; also says which runs are kept, and why."""
    answer = Pruned(0, {})
    while True:
        known = len(answer.kept)
        count = retention.prune(batch, older_than=older_than, workflow=workflow, kept=answer.kept)
        answer.removed += count
        if not count and len(answer.kept) == known:
            return answer


def count_prunable(*, older_than: timedelta | None = None, workflow: str | None = None) -> int:
    """How many runs :func:`prune_runs` would remove."""
    return retention.count_prunable(older_than, workflow)


def erase_runs(attributes: dict[str, str]) -> Erasure:
    """Erase the payloads of every ended run that carries all these attributes, and of the runs that it started.

    Arguments, results, payloads, error messages, attributes, tokens and stream chunks become ``"[erased]"``; names,
    ids, statuses and times stay. ``.erased`` are the ids of the erased runs, ``.active`` those of runs that were left
    because they, or a run that they started, have not ended: call it again then. Each run is a transaction of its own.

    Raises:
        ValueError: no attribute is given.
    """
    return erasure.erase(attributes)


aprune_runs = sync_to_async(prune_runs)
aerase_runs = sync_to_async(erase_runs)
