"""Removing ended runs whose time has come, in bounded batches that wait for nobody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from ..eventlog.statuses import TERMINAL_RUN
from ..models import Event, Hook, Outbox, Run, Step, Stream, StreamChunk, Wait, WebhookCall
from ..models.querysets import RunQuerySet
from ..store import database
from ..store.transactions import atomic

#: tables that refer to a run, children first
_DEPENDENTS = (StreamChunk, Stream, WebhookCall, Outbox, Event, Step, Wait, Hook)
#: events that one transaction removes, those of its last run excepted: a long log is removed alone
_MAX_EVENTS = 50_000


def prune(limit: int = 1000, *, older_than: timedelta | None = None, workflow: str | None = None) -> int:
    """Remove up to ``limit`` ended runs whose retention is over, in one transaction. Returns how many; 0: none is left.

    ``older_than``: those that ended longer ago than that, whatever their retention. ``workflow``: of this name only.
    Runs that still owe their parent the news of their end are left for the next time, and so are those that somebody
    holds, or whose children somebody holds.
    """
    with atomic():
        wanted = _prunable(older_than, workflow).order_by("expires_at", "completed_at")
        locked = wanted.select_for_update(skip_locked=True, of=("self",)).values_list("pk", "last_sequence")[:limit]
        chosen, events = [], 0
        for run_id, length in locked:
            chosen.append(run_id)
            events += length
            if events >= _MAX_EVENTS:
                break
        return remove_runs(chosen)


def count_prunable(older_than: timedelta | None = None, workflow: str | None = None) -> int:
    """How many runs :func:`prune` would remove by and by."""
    return _prunable(older_than, workflow).count()


def _prunable(older_than: timedelta | None, workflow: str | None) -> RunQuerySet:
    ended: RunQuerySet = Run.objects.filter(status__in=sorted(TERMINAL_RUN))
    if older_than is None:
        ended = ended.filter(expires_at__lte=database.now())
    else:
        ended = ended.filter(completed_at__lte=database.now() - older_than)
    if workflow is not None:
        ended = ended.filter(workflow=workflow)
    return ended.exclude(outbox__isnull=False)


def remove_runs(ids: Sequence[str]) -> int:
    """Remove these ended runs and all that belongs to them; their children stay, without a parent. Returns how many."""
    free = _free_children(ids)
    if not free:
        return 0
    for model in _DEPENDENTS:
        rows = model._default_manager.filter(run_id__in=free)
        rows._raw_delete(rows.db)
    doomed = Run.objects.filter(pk__in=free)
    doomed._raw_delete(doomed.db)
    return len(free)


def _free_children(ids: Sequence[str]) -> list[str]:
    """Part the runs from their children. Returns the runs without those of whose children some are held just now."""
    children = Run.objects.filter(parent_id__in=ids)
    parents = dict(children.values_list("pk", "parent_id"))
    free = (
        set(children.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True))
        if parents
        else set()
    )
    held = {parent_id for child_id, parent_id in parents.items() if child_id not in free}
    children.filter(pk__in=free).exclude(parent_id__in=held).update(parent=None)
    return [run_id for run_id in ids if run_id not in held]
