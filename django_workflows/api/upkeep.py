"""Upkeep of ended runs: remove those whose retention is over, erase what people put into them."""

from __future__ import annotations

from datetime import timedelta

from asgiref.sync import sync_to_async

from ..upkeep import erasure, retention
from ..upkeep.erasure import Erasure


def prune_runs(*, older_than: timedelta | None = None, workflow: str | None = None, batch: int = 1000) -> int:
    """Remove every ended run whose retention is over. Returns how many. Workers do so once a minute, too.

    ``older_than``: those that ended longer ago than that, whatever their retention. ``workflow``: of this name only.
    ``batch``: runs per transaction. Runs that another transaction holds, or that have yet to notify their parent, are
    left for the next call.
    """
    total = 0
    while count := retention.prune(batch, older_than=older_than, workflow=workflow):
        total += count
    return total


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
