"""What one run's transition consists of: record what has arrived, deliver it, record what the body decides, start steps.

Pure bookkeeping over a :class:`~...store.transition.Transition`; nothing here opens a transaction or writes a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ... import conf
from ...authoring.registry import find_step
from ...authoring.steps import Step
from ...eventlog import commands
from ...eventlog.statuses import StepStatus
from ...exceptions import MaxEventsExceededError, PayloadTooLargeError, WorkflowError
from ...serialization import encode_error
from ...services import decisions, runs, steps, waits
from ...store.rows import StepRow
from ...store.transition import ANY_STEP, Transition
from ..attempts.attempts import Attempt, attempt_of
from .bodies import Body
from .outcomes import record_outcome
from .work import Work
from .worker import Worker

#: decisions that one transaction writes; the rest follow in the next ones
MAX_DECISIONS = 1000


class NeedsLockError(Exception):
    """The body decided something that cannot be recorded behind the fence alone."""


class BeginAgainError(Exception):
    """What arrived cannot be recorded behind the fence alone: begin again under the run's lock."""


def record_arrivals(work: Work, worker: Worker, *, locked: bool) -> None:
    """Record what has arrived at the run: its start, outcomes of its steps, its deadline, waits that are due.

    Raises:
        BeginAgainError: not ``locked``, and the run has to be ended.
    """
    transition, run = work.transition, work.transition.run
    runs.start_run(transition, worker.worker_id, worker.scope.code_version)
    for outcome in work.outcomes:
        record_outcome(transition, outcome)
    if not run.ended and not locked and runs.is_overdue(transition):
        raise BeginAgainError
    if run.ended or runs.end_overdue_run(transition):
        return
    overdue = run.deadline_at is not None and transition.now >= run.deadline_at
    if overdue and run.timed_out_at is None and run.cancel_requested_at is None:
        runs.time_out_run(transition)
    waits.complete_due_waits(transition)


def decide(work: Work, worker: Worker, *, locked: bool) -> None:
    """Deliver every record that the body has not seen, one at a time, and record its decisions, until it is quiet.

    Raises:
        NeedsLockError: not ``locked``, and the next decision needs the run's lock. Call again under it.
        ReplayDivergenceError: the code does not fit the log.
    """
    transition, body = work.transition, work.body
    assert body is not None
    run, execution, watchdog = transition.run, body.execution, worker.watchdog
    written = len(transition.events)
    undelivered = False
    while not run.ended:
        for record in transition.records(execution.last_sequence):
            watchdog.mark(run.id)
            try:
                execution.deliver(record)
            finally:
                watchdog.clear()
        body.undecided.extend(execution.take())
        if _is_too_long(transition, body):
            if not locked:
                raise NeedsLockError
            _fail_too_long(transition)
        if not body.undecided or transition.run.ended:
            break
        if not locked and _needs_lock(transition, body.undecided):
            raise NeedsLockError
        room = MAX_DECISIONS - (len(transition.events) - written)
        if room <= 0:
            undelivered = True
            break
        chunk = [body.undecided.popleft() for _ in range(min(room, len(body.undecided)))]
        _record(transition, chunk, locked=locked)
    runs.clear_block(transition)
    runs.set_wake(transition, undelivered=undelivered)


def start_steps(work: Work, worker: Worker) -> None:
    """Start pending steps of the run, as far as there are slots: those just created, and those it was gathered for.

    Adds to ``work`` the attempts to begin once this is committed, and the steps that found no slot.
    """
    transition, body = work.transition, work.body
    new_steps = transition.new_steps.values()
    if transition.run.ended or not (new_steps or work.starts):
        return
    candidates = [*_wanted(transition, work.starts), *new_steps]
    mine = [step for step in candidates if step.status == StepStatus.PENDING and _fits(transition, step, worker)]
    granted = worker.slots.take(len(mine)) if mine else 0
    work.attempts = [_start(transition, step, worker.worker_id) for step in mine[:granted]]
    work.without_slot = [step.correlation_id for step in mine[granted:]]
    if len(work.attempts) < len(candidates):
        transition.wake.add(ANY_STEP)
    if body is not None:
        for record in transition.records(body.execution.last_sequence):
            body.execution.deliver(record)


def _wanted(transition: Transition, starts: Sequence[str]) -> list[StepRow]:
    found = [transition.entities.steps.get(correlation_id) for correlation_id in starts]
    return [step for step in found if step is not None and step.id not in transition.new_steps]


def _fits(transition: Transition, step: StepRow, worker: Worker) -> bool:
    queues = worker.scope.queues
    return (
        find_step(step.name) is not None
        and (queues is None or step.queue in queues)
        and step.available_at <= transition.now
    )


def _start(transition: Transition, step: StepRow, worker_id: str) -> Attempt:
    steps.start_step(transition, step, worker_id)
    definition: Step[..., object] | None = find_step(step.name)
    assert definition is not None
    return attempt_of(step, transition.run, definition, worker_id)


def _record(transition: Transition, chunk: Sequence[commands.Command], *, locked: bool) -> None:
    try:
        decisions.record_decisions(transition, chunk)
    except PayloadTooLargeError as error:
        if not locked:
            raise BeginAgainError from error
        runs.fail_run(transition, encode_error(error), error.code)


def _needs_lock(transition: Transition, decided: Iterable[commands.Command]) -> bool:
    run = transition.run
    for command in decided:
        if isinstance(command, decisions.NEEDS_LOCK):
            return True
        if isinstance(command, commands.EndRun) and (
            transition.entities.hooks or run.parent_id or run.cancel_requested_at or run.timed_out_at
        ):
            return True
    return False


def _is_too_long(transition: Transition, body: Body) -> bool:
    """Whether the log has reached its limit and would go on growing: a body that is done may say so."""
    run, undecided = transition.run, body.undecided
    if run.ended or run.last_sequence < conf.settings.MAX_EVENTS_PER_RUN:
        return False
    return not (undecided and isinstance(undecided[-1], commands.EndRun))


def _fail_too_long(transition: Transition) -> None:
    """A log that grows without end ends its run: by rule, so that every replay agrees."""
    error: WorkflowError = MaxEventsExceededError(
        f"The log has reached {transition.run.last_sequence} events, the limit is {conf.settings.MAX_EVENTS_PER_RUN}. "
        "Split the work into child runs or use continue_as_new(), or raise DJANGO_WORKFLOWS['MAX_EVENTS_PER_RUN']."
    )
    runs.fail_run(transition, encode_error(error), error.code)
