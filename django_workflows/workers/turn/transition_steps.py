"""One run, one transition: deliver what has arrived, record what the body decides, start the steps there is room for.

Pure bookkeeping over a :class:`~..services.transition.Transition`; nothing here opens a transaction or writes a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ... import conf
from ...authoring.definitions import Step
from ...authoring.registry import find_step
from ...eventlog import commands
from ...eventlog.events import Record
from ...eventlog.statuses import StepStatus
from ...exceptions import MaxEventsExceededError, PayloadTooLargeError, WorkflowError
from ...serialization import encode_error
from ...services import decisions, runs, steps, waits
from ...store.claims import WorkerScope
from ...store.rows import StepRow
from ...store.transition import ANY_STEP, Transition
from ..attempts.attempts import Attempt, Outcome, attempt_of
from ..link.watchdog import Watchdog
from .bodies import Body
from .outcomes import record_outcome

#: decisions that one transaction writes; the rest follow in the next ones
MAX_DECISIONS = 1000


@dataclass(slots=True)
class Work:
    """What is to be done for one run in this turn."""

    run_id: str
    outcomes: list[Outcome] = field(default_factory=list)
    #: pending steps (correlation ids) that this worker wants to start now
    starts: list[str] = field(default_factory=list)
    #: the log has grown in another transaction: a body at hand has to catch up under the lock
    foreign: bool = False
    #: how often the run was found held by somebody else's transaction
    tries: int = 0


class NeedsLockError(Exception):
    """The body decided something that cannot be recorded behind the fence alone."""


class BeginAgainError(Exception):
    """What arrived cannot be recorded behind the fence alone: begin again under the run's lock."""


class Advance:
    """Everything one transition of one run needs to know about its worker."""

    def __init__(
        self, worker_id: str, scope: WorkerScope, watchdog: Watchdog, take_slots: Callable[[int], int]
    ) -> None:
        self.worker_id = worker_id
        self.scope = scope
        self.watchdog = watchdog
        #: asks for that many slots, gets as many as are free
        self._take_slots = take_slots

    def arrivals(self, transition: Transition, work: Work, *, locked: bool) -> None:
        """Record what has arrived at the run: its start, outcomes of its steps, its deadline, waits that are due.

        Raises:
            BeginAgainError: not ``locked``, and the run has to be ended.
        """
        run = transition.run
        runs.start_run(transition, self.worker_id, self.scope.code_version)
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

    def decide(self, transition: Transition, body: Body, *, locked: bool) -> None:
        """Deliver every record that the body has not seen, one at a time, and record its decisions, until it is quiet.

        Raises:
            NeedsLockError: not ``locked``, and the next decision needs the run's lock. Call again under it.
            ReplayDivergenceError: the code does not fit the log.
        """
        run, execution = transition.run, body.execution
        written = len(transition.events)
        undelivered = False
        while not run.ended:
            for record in transition.records(execution.last_sequence):
                self._deliver(body, record)
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

    def _deliver(self, body: Body, record: Record) -> None:
        self.watchdog.mark(body.entities.run.id)
        try:
            body.execution.deliver(record)
        finally:
            self.watchdog.clear()

    def start_steps(self, transition: Transition, wanted: Sequence[str] = ()) -> tuple[list[Attempt], list[str]]:
        """Start pending steps of the run: those just created and the ``wanted`` ones, as far as there is room.

        Returns the attempts to execute once this is committed, and the correlation ids of steps that found no room.
        """
        candidates = [*self._wanted(transition, wanted), *transition.new_steps.values()]
        mine = [step for step in candidates if step.status == StepStatus.PENDING and self._fits(transition, step)]
        if transition.run.ended or not candidates:
            return [], []
        granted = self._take_slots(len(mine)) if mine else 0
        attempts = [self._start(transition, step) for step in mine[:granted]]
        left = [step.correlation_id for step in mine[granted:]]
        if left or len(mine) < len(candidates):
            transition.wake.add(ANY_STEP)
        return attempts, left

    def _wanted(self, transition: Transition, wanted: Sequence[str]) -> list[StepRow]:
        found = [transition.entities.steps.get(correlation_id) for correlation_id in wanted]
        return [step for step in found if step is not None and step.id not in transition.new_steps]

    def _fits(self, transition: Transition, step: StepRow) -> bool:
        queues = self.scope.queues
        return (
            find_step(step.name) is not None
            and (queues is None or step.queue in queues)
            and step.available_at <= transition.now
        )

    def _start(self, transition: Transition, step: StepRow) -> Attempt:
        steps.start_step(transition, step, self.worker_id)
        definition: Step[..., object] | None = find_step(step.name)
        assert definition is not None
        return attempt_of(step, transition.run, definition, self.worker_id)


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
