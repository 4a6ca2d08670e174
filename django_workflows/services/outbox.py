"""What one run's transition owes another run.

A transition never locks a second run. It leaves a row here in its own transaction; ``flush_outbox`` takes the rows up
later, each in a transaction that locks the other run, applies it if it is not applied yet, and removes the row.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..eventlog import events
from ..eventlog.records import reencode
from ..eventlog.statuses import RunStatus
from ..models import Event, Outbox, Run
from ..serialization import Encoded, dumps
from ..serialization.columns import with_raw
from ..serialization.encryption import decrypt
from ..store import database
from ..store.event_log import append
from ..store.locking import lock_run, lock_runs, read_end
from ..store.transactions import atomic
from ..store.transition import Transition
from ..store.write import write

logger = logging.getLogger(__name__)

CHILD_ENDED = "child_ended"
CANCEL_CHILD = "cancel_child"

#: children that one delivery cancels; the rest follow in the next ones, each in a transaction of its own
_CANCELLED_AT_ONCE = 100


def queue_child_ended(transition: Transition) -> None:
    """The run has ended: its parent is told, and children that were not detached are cancelled with a cancelled run."""
    run = transition.run
    if run.parent_id is not None:
        transition.outbox.append((CHILD_ENDED, run.parent_id, _end(run.id, run.status, run.output, run.error)))
    if run.status == RunStatus.CANCELLED or run.timed_out_at is not None:
        transition.outbox.append((CANCEL_CHILD, run.id, dumps({"parent": run.id})))


def queue_child_ended_again(child_id: str, parent_id: str, now: datetime) -> None:
    """The parent asks once more how a child ended that has ended already: it begins another life."""
    payload = _end(child_id, *read_end(child_id))
    Outbox.objects.create(kind=CHILD_ENDED, run_id=child_id, target=parent_id, payload=payload, created_at=now)


def _end(child_id: str, status: str, output: Encoded | None, error: Encoded | None) -> Encoded:
    payload = {"child": child_id, "status": str(status), "output": output, "error": error}
    parts = (f'"{key}":{value if type(value) is Encoded else dumps(value)}' for key, value in payload.items())
    return Encoded("{" + ",".join(parts) + "}")


def flush_outbox(limit: int = 100) -> int:
    """Deliver what is owed, oldest first. Returns how many rows were taken up; any number of workers may call it.

    Ends of children are recorded together, one by one if that fails; the rest each in a transaction of its own.
    """
    owed = Outbox.objects.order_by("pk").values_list("pk", "kind")
    kinds: dict[str, list[int]] = {CHILD_ENDED: [], CANCEL_CHILD: []}
    for pk, kind in owed[:limit]:
        kinds.setdefault(kind, []).append(pk)
    ends = kinds[CHILD_ENDED]
    count = _attempt(_deliver_ends, ends) if ends else 0
    if count is None:
        count = sum(_attempt(_deliver_ends, [pk]) or 0 for pk in ends)
    return count + sum(_attempt(_deliver_cancel, pk) or 0 for pk in kinds[CANCEL_CHILD])


def _attempt(delivery: Callable[[Any], int], what: Any) -> int | None:
    """What the delivery returns; None if it failed, for whatever reason that is not the whole database's."""
    try:
        return delivery(what)
    except Exception:
        if not database.connection().is_usable():
            raise
        # Its run is held by a long transaction, or another version of the code owes what this one does not know.
        logger.warning("Outbox rows %s could not be delivered; they are tried again.", what, exc_info=True)
        return None


# --- a child has ended -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _End:
    """A row of the outbox, its payload as plain JSON: nobody here needs to know the classes that it names."""

    pk: int
    child_id: str
    parent_id: str
    correlation_id: str
    continued: bool
    payload: dict[str, Any]


def _deliver_ends(pks: Sequence[int]) -> int:
    """Each child's end becomes an event in its parent's log, once. Parents are locked in the order of their ids."""
    with atomic():
        ends = _lock_ends(pks)
        parents = {parent.run.id: parent for parent in lock_runs(sorted({e.parent_id for e in ends}), entities=False)}
        pending = [end for end in ends if end.parent_id in parents and not parents[end.parent_id].run.ended]
        recorded = _recorded(parents, pending)
        for end in pending:
            if (end.parent_id, end.correlation_id) not in recorded:
                recorded.add((end.parent_id, end.correlation_id))
                _record_end(parents[end.parent_id], end)
        write(list(parents.values()))
        Outbox.objects.filter(pk__in=[end.pk for end in ends]).delete()
        return len(ends)


def _lock_ends(pks: Sequence[int]) -> list[_End]:
    """The rows that nobody else is delivering."""
    rows = Outbox.objects.filter(pk__in=pks).order_by("pk").select_for_update(skip_locked=True)
    found = list(with_raw(rows, "payload").values_list("pk", "run_id", "target", "raw_payload"))
    columns = ("pk", "parent_correlation_id", "continued_from")
    children = Run.objects.filter(pk__in=[run_id for _, run_id, _, _ in found]).values_list(*columns)
    about = {run_id: (correlation_id, bool(continued)) for run_id, correlation_id, continued in children}
    return [
        _End(pk, run_id, target, *about[run_id], payload=json.loads(decrypt(raw))) for pk, run_id, target, raw in found
    ]


def _record_end(parent: Transition, end: _End) -> None:
    payload = end.payload
    output, error = reencode(payload["output"]), reencode(payload["error"])
    record_child_end(parent, end.correlation_id, _known_as(end), payload["status"], output, error)
    parent.run.wake_at = parent.now
    parent.wake.add(parent.run.id)


def record_child_end(
    parent: Transition,
    correlation_id: str,
    child_id: str,
    status: str,
    output: Encoded | None,
    error: Encoded | None,
) -> None:
    """Record ``child_completed`` or ``child_failed``. ``child_id``: as the parent's body knows the child."""
    if status == RunStatus.COMPLETED:
        event: events.Event = events.ChildCompleted(child_id, output)
    else:
        event = events.ChildFailed(child_id, error, status == RunStatus.CANCELLED)
    append(parent, event, correlation_id)


def _recorded(parents: Mapping[str, Transition], ends: Sequence[_End]) -> set[tuple[str, str]]:
    """(parent, correlation id) of those whose end the log has. What a retry of the parent left out does not count."""
    logged = Event.objects.filter(run_id__in={end.parent_id for end in ends})
    known = logged.filter(correlation_id__in={end.correlation_id for end in ends}, type__in=events.CHILD_TERMINALS)
    found = set(known.values_list("run_id", "correlation_id", "sequence"))
    if any(parents[run_id].run.life for run_id, _, _ in found):
        for event in logged.filter(type=events.RunRetried.type):
            skipped = set(event.payload.get("skipped") or ())
            found = {item for item in found if item[0] != event.run_id or item[2] not in skipped}
    return {(run_id, correlation_id) for run_id, correlation_id, _ in found}


def _known_as(end: _End) -> str:
    """The id by which the parent's body knows the child: a child that continued as new ends under another one."""
    if not end.continued:
        return end.child_id
    logged = Event.objects.filter(run_id=end.parent_id, correlation_id=end.correlation_id)
    return str(logged.filter(type=events.ChildStarted.type).get().payload["child"])


# --- a parent was cancelled ------------------------------------------------------------------------------------------


def _deliver_cancel(pk: int) -> int:
    """Take the row up in as many transactions as it needs; 0 if it is gone or somebody else has it."""
    done = False
    while not done:
        with atomic():
            row = Outbox.objects.select_for_update(skip_locked=True).filter(pk=pk).first()
            if row is None:
                return 0
            done = _cancel_children(row)
            if done:
                Outbox.objects.filter(pk=pk).delete()
    return 1


def _cancel_children(row: Outbox) -> bool:
    """Cancel the run's children, those it detached excepted. False: there may be more of them."""
    from .runs import request_cancel

    active = Run.objects.active().filter(parent_id=row.run_id, detached=False)
    children = active.filter(cancel_requested_at__isnull=True).order_by("pk").values_list("pk", flat=True)
    chosen = list(children[:_CANCELLED_AT_ONCE])
    for child_id in chosen:
        child = lock_run(child_id)
        if not child.run.ended:
            request_cancel(child, f"parent {row.run_id} was cancelled", force=False)
            write([child])
    return len(chosen) < _CANCELLED_AT_ONCE
