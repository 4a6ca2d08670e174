"""What one run's transition owes another run.

A transition never locks a second run. It leaves a row here in its own transaction; ``deliver`` takes the rows up
later, each in a transaction that locks the other run, applies it if it is not applied yet, and removes the row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from django.db import transaction as db_transaction
from django.db.models import QuerySet

from .. import events
from ..exceptions import RunNotFoundError
from ..models import Event, Outbox, Run
from ..serialization import Encoded, dumps
from ..statuses import RunStatus
from . import database
from .event_log import append
from .locking import lock_run, read_end
from .transition import Transition
from .write import write

logger = logging.getLogger(__name__)

CHILD_ENDED = "child_ended"
CANCEL_CHILD = "cancel_child"

#: children that one delivery cancels; the rest follow in the next ones, each in a transaction of its own
_CANCELLED_AT_ONCE = 100


def owe_end(transition: Transition) -> None:
    """The run has ended: its parent is told, and children that were not detached are cancelled with a cancelled run."""
    run = transition.run
    if run.parent_id is not None:
        transition.outbox.append((CHILD_ENDED, run.parent_id, _end(run.id, run.status, run.output, run.error)))
    if run.status == RunStatus.CANCELLED or run.timed_out_at is not None:
        transition.outbox.append((CANCEL_CHILD, run.id, dumps({"parent": run.id})))


def owe_end_again(child_id: str, parent_id: str, now: datetime) -> None:
    """The parent asks once more how a child ended that has ended already: it begins another life."""
    payload = _end(child_id, *read_end(child_id))
    Outbox.objects.using(database.alias()).create(
        kind=CHILD_ENDED, run_id=child_id, target=parent_id, payload=payload, created_at=now
    )


def _end(child_id: str, status: str, output: Encoded | None, error: Encoded | None) -> Encoded:
    payload = {"child": child_id, "status": status, "output": output, "error": error}
    parts = (f'"{key}":{value if type(value) is Encoded else dumps(value)}' for key, value in payload.items())
    return Encoded("{" + ",".join(parts) + "}")


def deliver(limit: int = 100) -> int:
    """Deliver what is owed, oldest first. Returns how many rows were taken up; any number of workers may call it."""
    alias, count = database.alias(), 0
    for pk in list(Outbox.objects.using(alias).order_by("pk").values_list("pk", flat=True)[:limit]):
        try:
            while (paid := _deliver(pk)) is False:
                pass
        except Exception:
            if not database.connection().is_usable():
                raise
            # Its run is held by a long transaction, or another version of the code owes what this one does not know.
            logger.warning("Outbox row %s could not be delivered; it is tried again.", pk, exc_info=True)
            continue
        count += bool(paid)
    return count


def _deliver(pk: int) -> bool | None:
    """Take one row up. False: there is more to do for it. None: it is gone, or somebody else has it."""
    alias = database.alias()
    with db_transaction.atomic(using=alias):
        row = Outbox.objects.using(alias).select_for_update(skip_locked=True).filter(pk=pk).first()
        if row is None:
            return None
        paid = _DELIVERIES[row.kind](row)
        if paid:
            Outbox.objects.using(alias).filter(pk=pk).delete()
        return paid


def _child_ended(row: Outbox) -> bool:
    """The child's end becomes an event in its parent's log, once; a parent that has ended or is gone needs no news."""
    try:
        parent = lock_run(row.target)
    except RunNotFoundError:
        return True
    correlation_id = row.run.parent_correlation_id
    if parent.run.ended or _is_recorded(parent, correlation_id):
        return True
    payload, child_id = row.payload, _known_as(parent, correlation_id, row.run)
    if payload["status"] == RunStatus.COMPLETED:
        event: events.Event = events.ChildCompleted(child_id, payload["output"])
    else:
        event = events.ChildFailed(child_id, payload["error"], payload["status"] == RunStatus.CANCELLED)
    append(parent, event, correlation_id)
    parent.run.wake_at = parent.now
    parent.rings.add(parent.run.id)
    write([parent])
    return True


def _events(parent: Transition, correlation_id: str) -> QuerySet[Event]:
    return Event.objects.using(database.alias()).filter(run_id=parent.run.id, correlation_id=correlation_id)


def _is_recorded(parent: Transition, correlation_id: str) -> bool:
    """Whether the parent's log says how the child ended. What a retry of the parent left out does not count."""
    ends = _events(parent, correlation_id).filter(type__in=events.CHILD_TERMINALS)
    known = set(ends.values_list("sequence", flat=True))
    if known and parent.run.life:
        retried = Event.objects.using(database.alias()).filter(run_id=parent.run.id, type=events.RunRetried.type)
        for event in retried:
            known.difference_update(event.payload.get("skipped") or ())
    return bool(known)


def _known_as(parent: Transition, correlation_id: str, child: Run) -> str:
    """The id by which the parent's body knows the child: a child that continued as new ends under another one."""
    if not child.continued_from:
        return child.pk
    started = _events(parent, correlation_id).filter(type=events.ChildStarted.type).get()
    return str(started.payload["child"])


def _cancel_children(row: Outbox) -> bool:
    """Cancel the run's children, those it detached excepted. False: there may be more of them."""
    from .runs import request_cancel

    active = Run.objects.using(database.alias()).active().filter(parent_id=row.run_id, detached=False)
    children = active.filter(cancel_requested_at__isnull=True).order_by("pk").values_list("pk", flat=True)
    chosen = list(children[:_CANCELLED_AT_ONCE])
    for child_id in chosen:
        child = lock_run(child_id)
        if not child.run.ended:
            request_cancel(child, f"parent {row.run_id} was cancelled", force=False)
            write([child])
    return len(chosen) < _CANCELLED_AT_ONCE


_DELIVERIES: dict[str, Callable[[Outbox], bool]] = {CHILD_ENDED: _child_ended, CANCEL_CHILD: _cancel_children}
