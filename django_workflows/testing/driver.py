"""A worker in the calling thread: the production turns and attempts, one round at a time.

What differs from ``workers.process``: turns use the caller's connection, attempts run here and in order, nothing waits,
and time is moved by the caller. What is the same: everything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import cast

from .. import conf
from ..authoring import registry
from ..authoring.steps import Step
from ..schedules import declared, ticks
from ..services import outbox
from ..store import claims, database, orm_guard
from ..store.claims import Survey, WorkerScope
from ..store.code_version import code_version
from ..upkeep import worker_rows
from ..values import clock, ids
from ..workers.attempts.attempts import AlreadyRecorded, Attempt
from ..workers.attempts.slots import Slots
from ..workers.link.connection import BorrowedConnection
from ..workers.link.watchdog import Watchdog
from ..workers.turn.advancer import Advancer, ConnectionLostError
from .inline_executor import InlineExecutor
from .transactions import commits

#: attempts at a time: as many as bodies ask for
_SLOTS = 1_000_000


class _Everything:
    """All that this process knows, asked anew each time: tests define workflows as they go."""

    queues = None

    @property
    def workflows(self) -> tuple[str, ...]:
        return tuple(registry.workflow_names())

    @property
    def steps(self) -> tuple[str, ...]:
        return tuple(registry.step_names())

    @property
    def code_version(self) -> str:
        return code_version()


def _keep_on(place: str, definition: Step[..., object] | None) -> bool:
    return False


class Driver:
    """``crashes(place, step)`` is asked after each commit (``step`` None) and each attempt: True kills the worker."""

    def __init__(self, crashes: Callable[[str, Step[..., object] | None], bool] = _keep_on) -> None:
        self.scope = cast(WorkerScope, _Everything())
        self.crashes = crashes
        #: drop every body after each turn, so that each turn replays its run from the first event
        self.forgetful = False
        #: how often each step has run, and how often it had run for nothing when its worker died
        self.ran: Counter[str] = Counter()
        self.repeated: Counter[str] = Counter()
        self._unrecorded: list[str] = []
        self.disturbed = False
        self.watchdog = Watchdog()
        self._employ()

    def _employ(self) -> None:
        self.worker_id = ids.worker_id()
        self.slots = Slots(_SLOTS)
        self.advancer = Advancer(self, BorrowedConnection())
        self.executor = InlineExecutor(self.advancer, self.slots)
        self._registered = False

    def wake(self) -> None:
        """The next round takes the turn in any case."""

    def _register(self) -> None:
        if self._registered:
            return
        orm_guard.install()
        declared.synchronise(database.now())
        worker_rows.register_worker(
            self.worker_id, self.scope, concurrency=1, lock_key=0, lock_trusted=False, listening=False, skew=0.0
        )
        self._registered = True

    # --- rounds ------------------------------------------------------------------------------------------------------

    def run_until_idle(self) -> None:
        """Do all that can be done without time passing."""
        while self._round():
            pass

    def _round(self) -> bool:
        """One round. True: there is more to do now."""
        self._register()
        before = self._position()
        self._turn()
        if self._position() != before and self.crashes("after a commit", None):
            self.crash()
            return True
        survey = self._survey()
        if survey.outbox_pending:
            with commits():
                outbox.flush_outbox()
        if survey.next_tick is not None and survey.next_tick <= survey.now:
            with commits():
                ticks.make_due(self.scope.workflows)
        while (attempt := self.executor.next_ready(survey.now)) is not None:
            self._run(attempt)
            if self.crashes(f"after {attempt.step.name} had run and before its end was recorded", attempt.definition):
                self.crash()
                return True
        moments = (survey.next_run, survey.next_step, survey.next_tick)
        due = any(moment is not None and moment <= survey.now for moment in moments)
        return due or survey.outbox_pending or not self.advancer.inbox.is_empty

    def _run(self, attempt: Attempt) -> None:
        if not attempt.cancelled:
            self.ran[attempt.step.name] += 1
        self.executor.run(attempt)
        if self.executor.last is not None and not isinstance(self.executor.last, AlreadyRecorded):
            self._unrecorded.append(attempt.step.name)

    def _turn(self) -> None:
        try:
            with commits():
                self.advancer.turn()
                self.advancer.claim_steps()
        except ConnectionLostError as lost:
            raise lost.__cause__ or lost from None
        self._unrecorded.clear()
        if self.forgetful:
            self.advancer.bodies.clear()

    def _survey(self) -> Survey:
        timeout = timedelta(seconds=conf.settings.HEARTBEAT_TIMEOUT)
        execute = self.advancer.connection.execute
        survey = claims.survey(self.scope, self.worker_id, self.advancer.held(), timeout, execute)
        for step_id in survey.lapsed:
            if (attempt := self.advancer.in_flight.get(step_id)) is not None:
                self.executor.cancel(attempt)
        return survey

    def _position(self) -> int:
        """How much has been written: enough to see whether a turn committed anything."""
        from ..models import Event

        return Event.objects.count()

    # --- time --------------------------------------------------------------------------------------------------------

    def next_due(self, *, ticks: bool = False) -> datetime | None:
        """When time alone makes something possible: a timer, a retry, a deadline, the end of a mocked step.

        ``ticks``: or a schedule fires, which moves no run that is there.
        """
        survey = self._survey()
        moments = (survey.next_run, survey.next_step, survey.next_tick if ticks else None, self.executor.next_due())
        return min((moment for moment in moments if moment is not None), default=None)

    def move_to(self, moment: datetime) -> None:
        """Set the clock to ``moment``, unless it is later already. The worker shows that it lives."""
        clock.advance(max(timedelta(0), moment - database.now()))
        if self._registered:
            worker_rows.beat(self.worker_id, len(self.advancer.in_flight))

    # --- the end -----------------------------------------------------------------------------------------------------

    def crash(self) -> None:
        """The worker vanishes with all it had in memory. Another one notices and takes over."""
        self.disturbed = True
        gone = self.worker_id
        self.repeated.update(self._unrecorded)
        self._unrecorded.clear()
        self.advancer.bodies.clear()
        self._employ()
        with commits():
            worker_rows.rescue([gone])

    def close(self) -> None:
        self.advancer.bodies.clear()
        if self._registered and not database.connection().needs_rollback:
            worker_rows.stop_worker(self.worker_id)
