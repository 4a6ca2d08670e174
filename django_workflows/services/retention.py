"""Removing ended runs whose time has come, in bounded batches."""

from __future__ import annotations

from django.db import transaction as db_transaction

from ..models import Event, Hook, Outbox, Run, Step, Stream, StreamChunk, Wait, WebhookCall
from ..statuses import TERMINAL_RUN
from . import database

#: tables that refer to a run, children first
_DEPENDENTS = (StreamChunk, Stream, WebhookCall, Outbox, Event, Step, Wait, Hook)


def prune(limit: int = 1000) -> int:
    """Remove up to ``limit`` ended runs whose ``expires_at`` has passed. Returns how many."""
    alias = database.alias()
    with db_transaction.atomic(using=alias):
        expired = Run.objects.using(alias).filter(expires_at__lte=database.now(), status__in=sorted(TERMINAL_RUN))
        expired = expired.exclude(outbox__isnull=False)  # it still owes its parent the news
        locked = expired.order_by("expires_at").select_for_update(skip_locked=True, of=("self",))
        ids = list(locked.values_list("pk", flat=True)[:limit])
        return remove_runs(ids)


def remove_runs(ids: list[str]) -> int:
    """Remove these ended runs and all that belongs to them; their children stay, without a parent."""
    if not ids:
        return 0
    alias = database.alias()
    Run.objects.using(alias).filter(parent_id__in=ids).update(parent=None)
    for model in _DEPENDENTS:
        rows = model._default_manager.using(alias).filter(run_id__in=ids)  # type: ignore[attr-defined]
        rows._raw_delete(alias)
    Run.objects.using(alias).filter(pk__in=ids)._raw_delete(alias)  # type: ignore[attr-defined]
    return len(ids)
