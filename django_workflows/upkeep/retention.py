"""Removing ended runs whose time has come, in bounded batches that wait for no other transaction.

Models of the project may refer to a run, or to a row of it. Their ``on_delete`` is honoured as ``Run.delete()`` would; what
it protects, or a constraint of the database keeps, stays and is named, and the others go.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from django.db.models import Model

from ..eventlog.statuses import TERMINAL_RUN
from ..models import Event, Hook, Outbox, Run, Step, Stream, StreamChunk, Wait, WebhookCall
from ..models.querysets import RunQuerySet
from ..store import database, faults
from ..store.transactions import atomic

logger = logging.getLogger("django_workflows.worker")

#: tables that refer to a run, children first
_DEPENDENTS = (StreamChunk, Stream, WebhookCall, Outbox, Event, Step, Wait, Hook)
#: events that one transaction removes, those of its last run excepted: a long log is removed alone
_MAX_EVENTS = 50_000


def prune(
    limit: int = 1000,
    *,
    older_than: timedelta | None = None,
    workflow: str | None = None,
    kept: dict[str, str] | None = None,
) -> int:
    """Remove up to ``limit`` ended runs whose retention is over, in one transaction. Returns how many.

    ``older_than``: those that ended longer ago than that, whatever their retention. ``workflow``: of this name only.
    ``kept``: run ids to pass over, with why they stay; those that cannot be removed are added. 0, and nothing added:
    none is left. Runs that still owe their parent the news of their end are left for the next time, and so are those
    that another transaction holds, or whose children it holds.
    """
    kept = {} if kept is None else kept
    wanted = _prunable(older_than, workflow).exclude(pk__in=list(kept)).order_by("expires_at", "completed_at")
    chosen: list[str] = []
    try:
        with atomic():
            chosen = _lock_some(wanted, limit)
            return _remove_checked(chosen)
    except faults.DATABASE_ERRORS as error:
        if faults.classify(error).will_pass:
            raise
        return sum(_prune_alone(run_id, wanted, kept) for run_id in chosen)


def _lock_some(wanted: RunQuerySet, limit: int) -> list[str]:
    locked = wanted.select_for_update(skip_locked=True, of=("self",)).values_list("pk", "last_sequence")[:limit]
    chosen, events = [], 0
    for run_id, length in locked:
        chosen.append(run_id)
        events += length
        if events >= _MAX_EVENTS:
            break
    return chosen


def _prune_alone(run_id: str, wanted: RunQuerySet, kept: dict[str, str]) -> int:
    """Remove one run in a transaction of its own; note in ``kept`` why it stays, if the tables do not let it go."""
    try:
        with atomic():
            return _remove_checked(_lock_some(wanted.filter(pk=run_id), 1))
    except faults.DATABASE_ERRORS as error:
        if faults.classify(error).will_pass:
            raise
        kept[run_id] = _why_kept(error)
        logger.warning("Run %s has outlived its retention and is kept: %s", run_id, kept[run_id])
        return 0


def _why_kept(error: Exception) -> str:
    """What refers to the run, from Django or from the database's own constraint."""
    protected = getattr(error, "protected_objects", None) or getattr(error, "restricted_objects", None)
    if protected:
        names = sorted({row._meta.label for row in protected})
        return f"{', '.join(names)} refers to it, with an on_delete that protects it"
    return faults.classify(error).sentence


def _remove_checked(run_ids: Sequence[str]) -> int:
    """Remove these runs, and have deferred constraints judge it now: at the commit they would refuse the whole batch."""
    count = remove_runs(run_ids)
    if count and database.is_postgresql():
        database.connection().check_constraints()
    return count


def count_prunable(older_than: timedelta | None = None, workflow: str | None = None) -> int:
    """How many runs :func:`prune` would remove eventually."""
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
    """Remove these ended runs and all that belongs to them; their children stay, without a parent. Returns how many.

    Raises:
        IntegrityError: a row of the project refers to one of them, and its ``on_delete`` protects it.
    """
    free = _free_children(ids)
    if not free:
        return 0
    referred = _referred(free)
    if referred:  # the collector honours every on_delete, and loads rows to do so
        Run.objects.filter(pk__in=referred).delete()
    unreferred = [run_id for run_id in free if run_id not in referred]
    for model in _DEPENDENTS:
        rows = model._default_manager.filter(run_id__in=unreferred)
        rows._raw_delete(rows.db)
    doomed = Run.objects.filter(pk__in=unreferred)
    doomed._raw_delete(doomed.db)
    return len(free)


def _referred(run_ids: Sequence[str]) -> set[str]:
    """Those of these runs that rows of the project's own models refer to, directly or through a row of the run."""
    found: set[str] = set()
    for model in (Run, *_DEPENDENTS):
        for relation in _foreign_relations(model):
            path = relation.field.name if model is Run else f"{relation.field.name}__run"
            rows = relation.related_model._base_manager.using(database.alias()).filter(**{f"{path}__in": run_ids})
            found.update(rows.values_list(f"{path}_id", flat=True))
    return found


def _foreign_relations(model: type[Model]) -> Iterator[Any]:
    """Foreign keys of other apps that point at the model, those of many-to-many tables included."""
    for field in model._meta.get_fields(include_hidden=True):
        relation: Any = field
        refers = field.auto_created and not field.concrete and (field.one_to_one or field.one_to_many)
        if refers and relation.related_model._meta.app_label != model._meta.app_label:
            yield relation


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
