"""The last stage: what is committed begins and is made known, what is not is taken back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence

from ...eventlog.statuses import StepStatus
from ...services import outbox
from ...store import faults
from ...store.transition import Transition
from ...store.write import notify_others
from ..attempts.attempts import Attempt, Outcome
from ..link.connection import AdvancingConnection
from .bodies import Bodies
from .inbox import Inbox
from .load import Load
from .work import Work
from .worker import Worker

logger = logging.getLogger("django_workflows.worker")


class Settlement:
    """What all ways of writing share: the bodies, the slots, and the attempts in flight."""

    def __init__(self, worker: Worker, bodies: Bodies, inbox: Inbox, connection: AdvancingConnection) -> None:
        self._worker, self._bodies, self._inbox, self._connection = worker, bodies, inbox, connection
        self.load = Load()
        #: attempts by step id, from their start's commit to their outcome
        self.in_flight: dict[str, Attempt] = {}
        #: set when no attempt is in flight: no outcome is worth waiting for
        self.all_reported = threading.Event()
        #: (step id, number) of attempts that this process has begun and of whose end it does not know that it is recorded
        self.begun: set[tuple[str, int]] = set()
        #: attempts whose start is committed, not begun yet
        self.started: list[Attempt] = []
        self._committed: list[Transition] = []

    # --- what is committed -------------------------------------------------------------------------------------------

    def settle(self, work: Work) -> None:
        """The transition is committed: cache the body, or discard that of an ended run, and note what follows."""
        work.settled = True
        run, body = work.transition.run, work.body
        self.load.note(run.id)
        if run.ended:
            self._bodies.drop(run.id)
            if body is not None:
                self._bodies.close(body)
        elif body is not None:
            self._bodies.put(run.id, body)
        self._inbox.backlog.extend((run.id, correlation_id) for correlation_id in work.without_slot)
        self.started.extend(work.attempts)
        self.forget_begun(work.outcomes)
        for step in work.transition.changed_steps.values():
            if step.status == StepStatus.CANCELLED and (attempt := self.in_flight.get(step.id)) is not None:
                self._worker.executor.cancel(attempt)
        self._committed.append(work.transition)

    def begin_attempts(self) -> None:
        """Begin what has been started in the log."""
        started, self.started = self.started, []
        if started:
            self.all_reported.clear()
        for attempt in started:
            self.in_flight[attempt.step.id] = attempt
            self.begun.add((attempt.step.id, attempt.number))
            self._worker.executor.begin(attempt)

    def begin_and_notify(self) -> list[Transition]:
        """Begin attempts, wake other processes, and flush what is owed to other runs. Returns what was committed."""
        self.begin_attempts()
        committed, self._committed = self._committed, []
        try:
            notify_others(committed, self._connection.execute_or_none)
            if any(transition.outbox for transition in committed):
                outbox.flush_outbox()
        except faults.DATABASE_ERRORS as error:
            fault = faults.classify(error)
            if fault.needs_reconnect or not self._connection.usable:
                raise
            logger.debug("Other processes were not told of what was committed: %s.", fault.sentence)
        return committed

    def forget_begun(self, outcomes: Iterable[Outcome]) -> None:
        """The ends of these attempts are recorded, or their lease has refused them."""
        self.begun.difference_update((outcome.attempt.step.id, outcome.attempt.number) for outcome in outcomes)

    def ended(self, attempt: Attempt) -> None:
        """The attempt has an outcome. Safe from any thread."""
        if self.in_flight.get(attempt.step.id) is attempt:
            del self.in_flight[attempt.step.id]
            if not self.in_flight:
                self.all_reported.set()

    # --- what is not -------------------------------------------------------------------------------------------------

    def fall_back(self, work: Work, *, contended: bool = False) -> None:
        """Nothing of it was written: its slots are free again, its body is ahead of the log, the locked path repeats it."""
        self._worker.slots.free_slots(len(work.attempts))
        self._bodies.drop(work.run_id, contended=contended)
        if work.body is not None:
            self._bodies.close(work.body)
        work.start_over()

    def undo(self, works: Iterable[Work]) -> None:
        """A transaction failed: nothing of these was written."""
        for work in works:
            self.fall_back(work)

    def forget(self) -> None:
        """The database is away: nothing that was not committed has happened."""
        self._bodies.clear()
        self._inbox.backlog.clear()
        self._worker.slots.free_slots(len(self.started))
        self.started.clear()
        self._committed.clear()


def unsettled(works: Sequence[Work]) -> list[Work]:
    """Those that no way of writing has settled so far."""
    return [work for work in works if not work.settled]
