"""The life of a run: created, started, asked to end, ended; blocked when this code does not fit its log."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from .. import conf
from ..authoring.registry import find_workflow
from ..eventlog import events
from ..eventlog.commands import CompleteRun, EndRun, FailRun
from ..eventlog.statuses import RunStatus, StepStatus
from ..exceptions import EntityConflictError, RunCancelledError, RunNotActiveError, RunTimeoutError
from ..serialization import Encoded, encode_error, loads
from ..store.event_log import append, find_last
from ..store.transition import Note, Transition
from . import hooks, outbox, steps, waits

#: the type of the error that a body raises when it lets a cancellation through
_CANCELLED = "asyncio.exceptions.CancelledError"
#: seconds of the longest pause between two tries of one code version
LONGEST_PAUSE = 300.0
#: the key of a pause that binds every code version
EVERY_VERSION = "*"
#: the Unix time of a pause that only ``unblock_run`` ends
NEVER = 1e15
#: code versions whose pauses a row keeps
MOST_VERSIONS = 8


def start_run(transition: Transition, worker_id: str | None, code_version: str) -> None:
    """A worker advances the run for the first time."""
    run = transition.run
    if run.status != RunStatus.PENDING:
        return
    append(transition, events.RunStarted(worker_id, code_version))
    run.status = RunStatus.RUNNING
    run.started_at = transition.now
    run.code_version = code_version
    transition.run_changed = True


def request_cancel(transition: Transition, reason: str | None, *, force: bool) -> bool:
    """Ask the body to end; with ``force``, or before it has begun, end the run at once. False: nothing was added.

    Raises:
        RunNotActiveError: the run has completed or failed.
    """
    run = transition.run
    if run.status == RunStatus.CANCELLED:
        return False
    if run.ended:
        raise RunNotActiveError(run.id, run.status)
    if run.cancel_requested_at is not None and not force:
        return False
    append(transition, events.RunCancelRequested(reason, force))
    run.cancel_requested_at = run.cancel_requested_at or transition.now
    run.wake_at = transition.now
    transition.run_changed = True
    transition.wake.add(run.id)
    if force or run.status == RunStatus.PENDING:  # there is no body yet that could clean up
        end_run(transition, None)
    return True


def time_out_run(transition: Transition) -> None:
    """The run's deadline has passed: its body gets the same cleanup as after a cancel, then the run fails."""
    run = transition.run
    assert run.deadline_at is not None
    append(transition, events.RunTimedOut(run.deadline_at))
    run.timed_out_at = transition.now
    transition.run_changed = True


def is_overdue(transition: Transition) -> bool:
    """Whether the run's cleanup, after a cancel or its deadline, has taken longer than ``CANCEL_GRACE``."""
    since = transition.run.cancel_requested_at or transition.run.timed_out_at
    return since is not None and transition.now >= since + timedelta(seconds=conf.settings.CANCEL_GRACE)


def end_overdue_run(transition: Transition) -> bool:
    """End a run whose cleanup has taken longer than ``CANCEL_GRACE``. True if it was ended."""
    if not is_overdue(transition):
        return False
    end_run(transition, None)
    return True


def end_run(transition: Transition, end: EndRun | None) -> None:
    """Record the terminal event and close what is still open: all in the same transaction, implied by that event.

    After a cancel request the run ends cancelled, after its deadline it ends failed, whatever the body did; its value or
    error is kept in the event. ``end`` is None when the body is not asked any more.
    """
    run = transition.run
    output = end.output if isinstance(end, CompleteRun) else None
    error = end.error if isinstance(end, FailRun) else None
    if run.cancel_requested_at is not None:
        _cancel_run(transition, output, error)
    elif run.timed_out_at is not None:
        _fail_run(transition, _timeout_error(transition, error), "run_timeout")
    elif isinstance(end, FailRun):
        _fail_run(transition, end.error, end.error_code, end.raised)
    else:
        assert isinstance(end, CompleteRun)
        _complete_run(transition, end.output)
    _close(transition)


def fail_run(transition: Transition, error: Encoded, error_code: str) -> None:
    """The engine itself ends the run: too many events, a payload too large."""
    end_run(transition, FailRun("", error=error, error_code=error_code))


def _complete_run(transition: Transition, output: Encoded) -> None:
    append(transition, events.RunCompleted(output))
    transition.run.output = output
    _set_status(transition, RunStatus.COMPLETED)


def _fail_run(transition: Transition, error: Encoded, error_code: str, raised: BaseException | None = None) -> None:
    record = append(transition, events.RunFailed(error, error_code))
    if raised is not None:
        transition.raised[record.sequence] = raised
    transition.run.error = error
    transition.run.error_code = error_code
    _set_status(transition, RunStatus.FAILED)


def _cancel_run(transition: Transition, output: Encoded | None, error: Encoded | None) -> None:
    reason = _first_reason(transition)
    append(transition, events.RunCancelled(reason, output, error))
    transition.run.output, transition.run.error = output, error
    transition.run.error_code = RunCancelledError.code
    _set_status(transition, RunStatus.CANCELLED)


def _first_reason(transition: Transition) -> str | None:
    """Why the run was cancelled: from the request in this transaction, or from the log."""
    for row in transition.events:
        if row.record.type == events.RunCancelRequested.type:
            return row.record.payload["reason"]  # type: ignore[no-any-return]
    request = find_last(transition.run.id, events.RunCancelRequested.type)
    return request.payload["reason"] if request is not None else None


def _timeout_error(transition: Transition, error: Encoded | None) -> Encoded:
    """What left the body is the cause, unless it is the very error by which the body learned of its deadline."""
    run = transition.run
    limit = None if run.deadline_at is None else run.deadline_at - run.created_at
    told = error is None or loads(error)["type"] == _CANCELLED
    return encode_error(RunTimeoutError(limit, run.deadline_at), None if told else error)


def _set_status(transition: Transition, status: RunStatus) -> None:
    run = transition.run
    run.status = status
    run.completed_at = transition.now
    clear_block(transition)
    transition.run_changed = True
    transition.changed.append(run.id)


def _close(transition: Transition) -> None:
    """Pending steps and open waits become cancelled, hooks are disposed, the parent is notified. Running steps may finish."""
    run, entities = transition.run, transition.entities
    for step in list(entities.steps.values()):
        if step.status == StepStatus.PENDING:
            steps.drop_step(transition, step)
    for wait in list(entities.waits.values()):
        waits.drop_wait(transition, wait)
    hooks.drop_hooks(transition)
    run.wake_at = None
    retention = retention_of(run.workflow)
    run.expires_at = None if retention is None else transition.now + timedelta(seconds=retention)
    outbox.queue_child_ended(transition)


def retention_of(workflow: str) -> float | None:
    """Seconds that an ended run of this workflow is kept; None: indefinitely."""
    definition: Any = find_workflow(workflow)
    if definition is not None and definition.retention is not None:
        return float(definition.retention.total_seconds())
    default: float | None = conf.settings.RETENTION
    return default


def block_run(transition: Transition, reason: str, code_version: str) -> None:
    """Park a run that this worker's code cannot advance. Nothing is written to its log; it is tried again with backoff.

    The pause doubles with each try of this code version, from 2 to 300 seconds. Other versions keep their own.
    """
    if transition.run.ended:
        return
    tries = _tries(transition, code_version) + 1
    _pause(transition, code_version, reason, tries, min(2.0 ** min(tries, 10), LONGEST_PAUSE))


def block_crashed_run(transition: Transition, reason: str, code_version: str) -> None:
    """The run's body took its worker process down, or hung: no version of the code tries it again at once.

    After ``MAX_CRASHES`` the version waits until the run is unblocked; another one may try, and waits as soon as it
    crashes once.
    """
    run = transition.run
    if run.ended:
        return
    run.crashes += 1
    said = f"the body {reason}" + (f", {run.crashes} times" if run.crashes > 1 else "")
    _pause(transition, EVERY_VERSION, said, run.crashes, min(2.0 ** min(run.crashes - 1, 10), LONGEST_PAUSE))
    if run.crashes >= conf.settings.MAX_CRASHES:
        _pause(transition, code_version, said, run.crashes, None)


def _tries(transition: Transition, version: str) -> int:
    found = (transition.run.pauses or {}).get(version)
    return 0 if found is None else int(found[1])


def _pause(transition: Transition, version: str, reason: str, tries: int, seconds: float | None) -> None:
    """``seconds`` None: until the run is unblocked."""
    run = transition.run
    until = NEVER if seconds is None else transition.now.timestamp() + seconds
    pauses = {**(run.pauses or {}), version: [until, tries, reason]}
    while len(pauses) > MOST_VERSIONS:
        del pauses[min(pauses, key=lambda known: (known in (version, EVERY_VERSION), pauses[known][0]))]
    run.pauses = pauses
    run.blocked_count += 1
    run.blocked_reason = reason
    run.blocked_version = "" if version == EVERY_VERSION else version
    run.blocked_until = transition.now + timedelta(seconds=LONGEST_PAUSE if seconds is None else seconds)
    run.wake_at = run.wake_at or transition.now
    transition.run_changed = True
    note = Note("run_blocked", {"reason": reason, "tries": run.blocked_count})
    transition.notes = [known for known in transition.notes if known.name != note.name] + [note]


def _forget_pauses(transition: Transition) -> None:
    run = transition.run
    run.blocked_reason, run.blocked_until, run.blocked_count, run.blocked_version = "", None, 0, ""
    run.pauses, run.crashes = None, 0
    transition.run_changed = True


def unblock_run(transition: Transition) -> None:
    """Have a parked run tried again now, by any version of the code. Its crashes count from 0 again."""
    run = transition.run
    if run.ended:
        raise RunNotActiveError(run.id, run.status)
    if not run.blocked_reason:
        raise EntityConflictError(f"Run {run.id} is not blocked.")
    reason = run.blocked_reason
    _forget_pauses(transition)
    run.blocked_reason = reason  # until it has been advanced
    run.wake_at = transition.now
    transition.wake.add(run.id)


def clear_block(transition: Transition) -> None:
    """The run could be advanced, its code fits again, or it has ended."""
    run = transition.run
    if run.blocked_reason or run.blocked_count or run.crashes:
        if run.blocked_reason:
            transition.notes.append(Note("run_unblocked", {"reason": run.blocked_reason}))
        _forget_pauses(transition)


def set_wake(transition: Transition, *, undelivered: bool) -> None:
    """When a worker should look next: now, when time makes the run due, or not before something arrives."""
    run = transition.run
    if run.ended:
        run.wake_at = None
    elif undelivered:
        run.wake_at = transition.now
    else:
        run.wake_at = transition.entities.next_due(timedelta(seconds=conf.settings.CANCEL_GRACE))


def require_active(transition: Transition) -> None:
    """Raise RunNotActiveError for a run that has ended."""
    if transition.run.ended:
        raise RunNotActiveError(transition.run.id, transition.run.status)
