"""Messages from one run's transition to another run.

A transition never locks a second run. It leaves a row here in its own transaction; ``flush_outbox`` takes the rows up
later, each in a transaction that locks the other run, applies it if it is not applied yet, and removes the row.
"""

from __future__ import annotations

import json
import logging
import time
from collections import OrderedDict
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
from ..store import database, faults
from ..store.code_version import code_version
from ..store.event_log import append
from ..store.locking import lock_run, lock_runs, read_end
from ..store.transactions import atomic
from ..store.transition import Transition
from ..store.write import write

logger = logging.getLogger("django_workflows.worker")

CHILD_ENDED = "child_ended"
CANCEL_CHILD = "cancel_child"

#: children that one delivery cancels; the rest follow in the next ones, each in a transaction of its own
_CANCELLED_AT_ONCE = 100
#: seconds before a row that could not be delivered is tried again by this process: the first time, and at most
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 300.0
#: rows of which a process remembers that they could not be delivered
_MOST_HELD = 10_000


def queue_child_ended(transition: Transition) -> None:
    """The run has ended: queue its end for its parent and, where it was cancelled or timed out, the cancel of its children.

    Detached children are left alone.
    """
    run = transition.run
    if run.parent_id is not None:
        transition.outbox.append((CHILD_ENDED, run.parent_id, _end(run.id, run.status, run.output, run.error)))
    if run.status == RunStatus.CANCELLED or run.timed_out_at is not None:
        transition.outbox.append((CANCEL_CHILD, run.id, dumps({"parent": run.id})))


def queue_child_ended_again(child_id: str, parent_id: str, now: datetime) -> None:
    """Queue the end of a child that has ended already once more: its parent has been retried and waits for it again."""
    payload = _end(child_id, *read_end(child_id))
    Outbox.objects.create(kind=CHILD_ENDED, run_id=child_id, target=parent_id, payload=payload, created_at=now)


def _end(child_id: str, status: str, output: Encoded | None, error: Encoded | None) -> Encoded:
    payload = {"child": child_id, "status": str(status), "output": output, "error": error}
    parts = (f'"{key}":{value if type(value) is Encoded else dumps(value)}' for key, value in payload.items())
    return Encoded("{" + ",".join(parts) + "}")


@dataclass(slots=True)
class _Held:
    """A row that could not be delivered: how often, and when (``time.monotonic()``) this process tries it again."""

    tries: int = 0
    at: float = 0.0

    def hold(self) -> None:
        self.tries += 1
        self.at = time.monotonic() + min(_FIRST_PAUSE * 2.0 ** (self.tries - 1), _LAST_PAUSE)


#: rows by primary key; those that were delivered elsewhere meanwhile are forgotten when it is full
_held: OrderedDict[int, _Held] = OrderedDict()


def flush_outbox(limit: int = 100) -> int:
    """Apply pending messages, oldest first. Returns how many rows were handled; any number of workers may call it.

    Ends of children are recorded together, one by one if that fails; the rest each in a transaction of its own. A row
    that cannot be delivered is passed over for a while, longer each time; where the other run's own rows are in its
    way, that run is parked with the reason.
    """
    now = time.monotonic()
    held = [pk for pk, row in list(_held.items()) if row.at > now]
    pending = Outbox.objects.exclude(pk__in=held).order_by("pk").values_list("pk", "kind")
    kinds: dict[str, list[int]] = {CHILD_ENDED: [], CANCEL_CHILD: []}
    for pk, kind in pending[:limit]:
        kinds.setdefault(kind, []).append(pk)
    ends = kinds[CHILD_ENDED]
    count = _attempt(_deliver_ends, ends) if ends else 0
    if count is None:
        count = sum(_attempt_alone(_deliver_ends, [pk], pk) for pk in ends)
    return count + sum(_attempt_alone(_deliver_cancel, pk, pk) for pk in kinds[CANCEL_CHILD])


def _attempt(delivery: Callable[[Any], int], what: Any) -> int | None:
    """What the delivery returns; None if it failed, for whatever reason that is not the whole database's."""
    try:
        return delivery(what)
    except Exception as error:
        if faults.classify(error).kind is faults.Kind.GONE or not database.connection().is_usable():
            raise
        logger.debug("%s rows of the outbox are delivered one by one: %s", len(what), error)
        return None


def _attempt_alone(delivery: Callable[[Any], int], what: Any, pk: int) -> int:
    """What the delivery returns. One that fails is held for a while."""
    try:
        count = delivery(what)
    except Exception as error:
        fault = faults.classify(error)
        if fault.kind is faults.Kind.GONE or not database.connection().is_usable():
            raise
        # Its run is held by a long transaction, or another version of the code has queued a kind that this one lacks.
        held = _held.setdefault(pk, _Held())
        held.hold()
        while len(_held) > _MOST_HELD:
            _held.popitem(last=False)
        logger.warning(
            "Row %d of the outbox cannot be delivered, it is tried again in %.0f s: %s",
            pk, held.at - time.monotonic(), fault.sentence, exc_info=fault.kind is faults.Kind.OURS,
        )  # fmt: skip
        if not fault.will_pass:
            _park_target(pk, fault.sentence)
        return 0
    _held.pop(pk, None)
    return count


def _park_target(pk: int, sentence: str) -> None:
    """Park the run that cannot record the message: an operator sees why it does not continue."""
    from .runs import block_run

    try:
        with atomic():
            for kind, run_id, target in Outbox.objects.filter(pk=pk).values_list("kind", "run_id", "target"):
                reason = f"the {kind} of {run_id} cannot be recorded: {sentence}"
                for found in lock_runs([target], skip_locked=True, entities=False):
                    block_run(found, reason, code_version())
                    write([found])
    except Exception as error:
        if faults.classify(error).will_pass or not database.connection().is_usable():
            raise
        logger.warning("The run that row %d of the outbox is for cannot be parked either: %s", pk, error)


# --- a child has ended -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _End:
    """A row of the outbox, its payload as JSON values: the classes that it names need not exist here."""

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
    """The rows that no other worker is applying."""
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
    """Take the row up in as many transactions as it needs; 0 if it is gone or another worker has it."""
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
