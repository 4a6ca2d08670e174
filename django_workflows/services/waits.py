"""The life of a wait: created by the body, completed by the database's clock or by a person, or cancelled."""

from __future__ import annotations

from datetime import datetime

from ..eventlog import events
from ..eventlog.statuses import WaitStatus
from ..store.event_log import append
from ..store.rows import WaitRow
from ..store.transition import Transition
from ..values.ids import wait_id


def create_wait(transition: Transition, correlation_id: str, due_at: datetime) -> WaitRow:
    """The body sleeps until ``due_at`` (aware)."""
    now = transition.now
    wait = WaitRow(wait_id(), transition.run.id, correlation_id, WaitStatus.WAITING, due_at, now, None)
    transition.entities.add_wait(wait)
    transition.new_waits[wait.id] = wait
    append(transition, events.WaitCreated(due_at), correlation_id)
    return wait


def complete_wait(transition: Transition, wait: WaitRow, *, woken: bool = False) -> None:
    """The time has come, or (``woken``) a person or another program ended the wait early."""
    _end(transition, wait, WaitStatus.COMPLETED)
    append(transition, events.WaitCompleted(woken), wait.correlation_id)
    transition.run.wake_at = transition.now


def complete_due_waits(transition: Transition) -> int:
    """Complete every wait of the run that is due, in the order of their due times. Returns how many."""
    count = 0
    while (wait := transition.entities.first_wait()) is not None and wait.due_at <= transition.now:
        complete_wait(transition, wait)
        count += 1
    return count


def wake_waits(transition: Transition, correlation_id: str | None = None) -> int:
    """End the run's open waits now, or one of them. Returns how many were ended; none is no error."""
    waits = sorted(transition.entities.waits.values(), key=lambda wait: (wait.due_at, wait.correlation_id))
    chosen = [wait for wait in waits if correlation_id in (None, wait.correlation_id)]
    for wait in chosen:
        complete_wait(transition, wait, woken=True)
    if chosen:
        transition.wake.add(transition.run.id)
    return len(chosen)


def cancel_wait(transition: Transition, correlation_id: str) -> bool:
    """The body no longer waits. False: the wait ended before."""
    wait = transition.entities.waits.get(correlation_id)
    if wait is None:
        return False
    _end(transition, wait, WaitStatus.CANCELLED)
    append(transition, events.WaitCancelled(), correlation_id)
    return True


def drop_wait(transition: Transition, wait: WaitRow) -> None:
    """The run has ended; the terminal event implies that its open waits are cancelled."""
    _end(transition, wait, WaitStatus.CANCELLED)


def _end(transition: Transition, wait: WaitRow, status: WaitStatus) -> None:
    wait.status = status
    wait.completed_at = transition.now
    transition.change_wait(wait)
    transition.entities.waits.pop(wait.correlation_id, None)
