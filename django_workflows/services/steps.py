"""The life of a step: created, started, retried or lost, and ended exactly once.

Every write of an attempt carries its lease (worker and attempt number) and is refused when that is no longer current.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from .. import conf
from ..eventlog import events
from ..eventlog.statuses import TERMINAL_STEP, StepStatus
from ..exceptions import EntityConflictError, WorkerLostError
from ..models import Step
from ..serialization import Encoded, dumps, encode_error, loads
from ..store.event_log import append
from ..store.rows import StepRow
from ..store.transition import ANY_STEP, Note, Transition
from ..values.ids import step_id


def create_step(transition: Transition, correlation_id: str, name: str, input: Encoded, queue: str) -> StepRow:
    """The body asked for a step: it is pending, for any worker that knows it. ``input``: ``{"args", "kwargs"}``."""
    run, now = transition.run, transition.now
    step = StepRow(
        step_id(), run.id, correlation_id, name, StepStatus.PENDING, input, None, None,
        0, 0, 0, queue, run.priority, now, None, now, None, None,
    )  # fmt: skip
    transition.entities.steps[correlation_id] = step
    transition.new_steps[step.id] = step
    args, kwargs = split_input(input)
    append(transition, events.StepCreated(name, args, kwargs, queue), correlation_id)
    return step


def split_input(input: Encoded) -> tuple[Encoded, Encoded]:
    """``{"args":[…],"kwargs":{…}}`` -> the two values' texts, without decoding them."""
    if input.startswith('{"args":[],"kwargs":'):
        return Encoded("[]"), Encoded(input[20:-1])
    if input.endswith(',"kwargs":{}}'):
        return Encoded(input[8:-13]), Encoded("{}")
    value = loads(input)
    return dumps(value["args"]), dumps(value["kwargs"])


def start_step(transition: Transition, step: StepRow, worker_id: str | None) -> int:
    """A worker claims the step: the next attempt is its lease. Returns the attempt's number, from 1.

    Raises:
        EntityConflictError: the step is not pending.
    """
    if step.status != StepStatus.PENDING:
        raise EntityConflictError(f"Step {step.id} is {step.status}, not pending; another worker was first.")
    step.status = StepStatus.RUNNING
    step.attempt += 1
    step.worker_id = worker_id
    step.started_at = step.started_at or transition.now
    transition.change_step(step)
    append(transition, events.StepStarted(step.attempt, worker_id), step.correlation_id)
    return step.attempt


def holds_lease(step: StepRow | None, worker_id: str | None, attempt: int) -> bool:
    """Whether this attempt of this worker is the current one."""
    return (
        step is not None
        and step.status == StepStatus.RUNNING
        and step.attempt == attempt
        and step.worker_id == worker_id
    )


def require_lease(step: StepRow | None, step_id: str, worker_id: str | None, attempt: int) -> None:
    """Refuse what an attempt writes that is not the current one. ``step``: its row as it was read under the run's lock.

    Raises:
        EntityConflictError: the attempt was cancelled, timed out, or another worker has taken over.
    """
    if not holds_lease(step, worker_id, attempt):
        raise _lease_lost(step_id, attempt)


def lock_lease(step_id: str, worker_id: str | None, attempt: int) -> None:
    """As :func:`require_lease`, for writes beside the run: holds the step's row, not the run's, until the transaction ends.

    Raises:
        EntityConflictError: the attempt was cancelled, timed out, or another worker has taken over.
    """
    rows = Step.objects.select_for_update(no_key=True)
    current = rows.filter(pk=step_id, worker_id=worker_id, attempt=attempt, status=StepStatus.RUNNING)
    if not current.exists():
        raise _lease_lost(step_id, attempt)


def _lease_lost(step_id: str, attempt: int) -> EntityConflictError:
    return EntityConflictError(
        f"Attempt {attempt} of step {step_id} is no longer current: it was cancelled, timed out, or another worker has "
        "taken over."
    )


def complete_step(transition: Transition, step: StepRow, output: Encoded) -> None:
    """The current attempt returned. Also after the run's end: a step that was running may still report its outcome."""
    _end(transition, step, StepStatus.COMPLETED)
    step.output = output
    append(transition, events.StepCompleted(step.attempt, output), step.correlation_id)
    _wake(transition)


def fail_step(transition: Transition, step: StepRow, error: Encoded, raised: BaseException | None = None) -> None:
    """The current attempt failed, and no retry is left or wanted. ``raised``: the exception itself, for observers."""
    step.failures += 1
    _fail(transition, step, error, raised)


def retry_step(
    transition: Transition, step: StepRow, error: Encoded, retry_at: datetime, raised: BaseException | None = None
) -> None:
    """The current attempt failed and the step is tried again, not before ``retry_at`` (aware)."""
    step.failures += 1
    _requeue(transition, step, error, retry_at, lost=False, raised=raised)


def lose_step(transition: Transition, step: StepRow, reason: str = "", *, at_least: timedelta = timedelta(0)) -> None:
    """What the current attempt did is gone: its worker vanished, or what ``reason`` says. That is no failure; but
    ``MAX_LOSSES`` of them end the step. ``at_least``: the shortest pause before the next attempt."""
    step.losses += 1
    transition.notes.append(Note("worker_lost", {"worker": step.worker_id, "attempt": step.attempt}, step))
    reason = reason or f"The worker of attempt {step.attempt} vanished."
    lost = WorkerLostError(f"{reason} Lost attempts at this step: {step.losses}.")
    if step.losses >= conf.settings.MAX_LOSSES or transition.run.ended:
        _fail(transition, step, encode_error(lost))
    else:
        # The first time at once. A step that takes its worker down again and again must not take the others' with it.
        pause = max(at_least, timedelta(seconds=min(2.0 ** (step.losses - 1) - 1.0, 60.0)))
        _requeue(transition, step, encode_error(lost), transition.now + pause, lost=True)


def release_step(transition: Transition, step: StepRow) -> None:
    """A worker gives a step back: it stops, or has no room for it after all. No failure, and no loss that counts.

    The first times it may be taken again at once. One that is given back again and again waits longer each time: its log
    must not grow without end.
    """
    given_back = step.attempt - step.failures - step.losses
    pause = timedelta(seconds=0 if given_back <= 3 else min(0.1 * 2.0 ** min(given_back - 4, 10), 15.0))
    error = encode_error(WorkerLostError("The worker gave the step back."))
    _requeue(transition, step, error, transition.now + pause, lost=True)


def cancel_step(transition: Transition, step: StepRow | None, correlation_id: str) -> bool:
    """The body no longer wants the step. A pending one never starts; the attempt of a running one learns of it.

    False: the step had ended before.
    """
    if step is None or step.status in TERMINAL_STEP:
        return False
    _end(transition, step, StepStatus.CANCELLED)
    append(transition, events.StepCancelled(), correlation_id)
    return True


def drop_step(transition: Transition, step: StepRow) -> None:
    """The run has ended: a step that never started is cancelled; the terminal event implies it."""
    _end(transition, step, StepStatus.CANCELLED)


def _fail(transition: Transition, step: StepRow, error: Encoded, raised: BaseException | None = None) -> None:
    _end(transition, step, StepStatus.FAILED)
    step.error = error
    record = append(transition, events.StepFailed(step.attempt, error), step.correlation_id)
    if raised is not None:
        transition.raised[record.sequence] = raised
    _wake(transition)


def _end(transition: Transition, step: StepRow, status: StepStatus) -> None:
    if step.status in TERMINAL_STEP:
        raise EntityConflictError(f"Step {step.id} is already {step.status}.")
    step.status = status
    step.completed_at = transition.now
    transition.change_step(step)
    transition.entities.steps.pop(step.correlation_id, None)


def _requeue(
    transition: Transition,
    step: StepRow,
    error: Encoded,
    at: datetime,
    *,
    lost: bool,
    raised: BaseException | None = None,
) -> None:
    run = transition.run
    if run.ended:
        raise EntityConflictError(f"Run {run.id} has ended; its steps are not tried again.")
    step.status = StepStatus.PENDING
    step.worker_id = None
    step.available_at = at
    step.error = error
    transition.change_step(step)
    record = append(transition, events.StepRetrying(step.attempt, error, at, lost), step.correlation_id)
    if raised is not None:
        transition.raised[record.sequence] = raised
    if at <= transition.now:
        transition.wake.add(ANY_STEP)


def _wake(transition: Transition) -> None:
    if not transition.run.ended:
        transition.run.wake_at = transition.now
