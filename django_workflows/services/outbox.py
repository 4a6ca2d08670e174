"""What one run's transition owes another run.

A transition never locks a second run. It leaves a row here in its own transaction; ``deliver`` takes the rows up later, each
in a transaction that locks the other run, applies it if it is not applied yet, and removes the row.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction as db_transaction

from .. import events
from ..exceptions import RunNotFoundError
from ..models import Outbox
from ..serialization import Encoded, dumps
from ..statuses import RunStatus
from . import database
from .event_log import append
from .locking import lock_run
from .transition import Transition
from .write import write

CHILD_ENDED = "child_ended"
CANCEL_CHILD = "cancel_child"


def owe_end(transition: Transition) -> None:
    """The run has ended: its parent is told, and children that were not detached are cancelled with a cancelled run."""
    run = transition.run
    if run.parent_id is not None:
        payload = {"child": run.id, "status": run.status, "output": run.output, "error": run.error}
        transition.outbox.append((CHILD_ENDED, run.parent_id, _spliced(payload)))
    if run.status == RunStatus.CANCELLED or run.timed_out_at is not None:
        transition.outbox.append((CANCEL_CHILD, run.id, dumps({"parent": run.id})))


def _spliced(payload: dict[str, object]) -> Encoded:
    parts = (f'"{key}":{value if type(value) is Encoded else dumps(value)}' for key, value in payload.items())
    return Encoded("{" + ",".join(parts) + "}")


def deliver(limit: int = 100) -> int:
    """Deliver what is owed, oldest first. Returns how many rows were taken up; any number of workers may call it."""
    alias, count = database.alias(), 0
    for pk in list(Outbox.objects.using(alias).order_by("pk").values_list("pk", flat=True)[:limit]):
        with db_transaction.atomic(using=alias):
            row = Outbox.objects.using(alias).select_for_update(skip_locked=True).filter(pk=pk).first()
            if row is None:
                continue
            _DELIVERIES[row.kind](row)
            Outbox.objects.using(alias).filter(pk=pk).delete()
            count += 1
    return count


def _child_ended(row: Outbox) -> None:
    """The child's end becomes an event in its parent's log, once; a parent that has ended or is gone needs no news."""
    try:
        parent = lock_run(row.target)
    except RunNotFoundError:
        return
    child = row.run
    if parent.run.ended or _is_recorded(parent, child.parent_correlation_id):
        return
    payload = row.payload
    if payload["status"] == RunStatus.COMPLETED:
        event: events.Event = events.ChildCompleted(child.pk, payload["output"])
    else:
        event = events.ChildFailed(child.pk, payload["error"], payload["status"] == RunStatus.CANCELLED)
    append(parent, event, child.parent_correlation_id)
    parent.run.wake_at = parent.now
    parent.ring_work = True
    write([parent])


def _is_recorded(parent: Transition, correlation_id: str) -> bool:
    from ..models import Event

    rows = Event.objects.using(database.alias()).filter(run_id=parent.run.id, correlation_id=correlation_id)
    return rows.filter(type__in=events.CHILD_TERMINALS).exists()


def _cancel_children(row: Outbox) -> None:
    """Cancel the run's children, those it detached excepted."""
    from ..models import Run
    from .runs import request_cancel

    children: Sequence[str] = list(
        Run.objects.using(database.alias())
        .active()
        .filter(parent_id=row.run_id, detached=False)
        .order_by("pk")
        .values_list("pk", flat=True)
    )
    for child_id in children:
        child = lock_run(child_id)
        if not child.run.ended:
            request_cancel(child, f"parent {row.run_id} was cancelled", force=False)
            write([child])


_DELIVERIES = {CHILD_ENDED: _child_ended, CANCEL_CHILD: _cancel_children}
