"""One worker process: its main loop."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.db import connections

from .. import conf
from ..authoring.registry import step_names, workflow_names
from ..schedules import declared, ticks
from ..store import claims, database, faults, orm_guard
from ..store.claims import Survey, WorkerScope
from ..store.code_version import code_version
from ..upkeep import worker_rows
from ..values import clock, ids
from .attempts.slots import Slots
from .chores import DELIVER, RESCUE, Chores
from .executors.dispatcher import Dispatcher
from .housekeeping import Housekeeper
from .link.doorbell import Doorbell
from .link.watchdog import Watchdog
from .turn.adoption import settle_unheld
from .turn.advancer import MIN_CLAIM, Advancer, ConnectionLostError

logger = logging.getLogger("django_workflows.worker")

#: seconds after which a worker surveys when a NOTIFY has brought it something: there may be steps to claim, too
SOON = 0.05
#: seconds between two looks at parked runs
PARKED_INTERVAL = 1.0
#: seconds that a turn waits for more outcomes to come in, where many runs are under way
GATHER_TIME = 0.001
#: seconds between the first sign of another worker's death and the second, on which its steps are released
CONFIRM_TIME = 0.2
#: seconds that the others get to come back after an outage of the database
RETURN_TIME = 5.0
#: seconds that the worker waits before it reconnects: the first time, and at most
_FIRST_RECONNECT, _LAST_RECONNECT = 0.05, 2.0


class WorkerProcess:
    """Advances runs and executes steps until :meth:`stop`. To its turns it is :class:`~.turn.worker.Worker`.

    ``queues`` None: all. ``burst``: return when nothing is due or claimable. ``grace``: seconds that running steps get.
    """

    def __init__(
        self,
        *,
        queues: tuple[str, ...] | None = None,
        concurrency: int | None = None,
        burst: bool = False,
        grace: float = 30.0,
        watchdog: Watchdog | None = None,
    ) -> None:
        self.worker_id = ids.worker_id()
        self.concurrency = concurrency or conf.settings.CONCURRENCY
        self.burst = burst
        self.grace = grace
        self.scope = WorkerScope(queues, tuple(workflow_names()), tuple(step_names()), code_version())
        self.stopping = threading.Event()
        self.doorbell = Doorbell()
        self.slots = Slots(self.concurrency)
        self.watchdog = watchdog or Watchdog()
        self.advancer = Advancer(self)
        self.advancer.more_due = True
        self.executor = Dispatcher(self.slots, self.advancer)
        self._registered = False
        self._next_survey_at = 0.0
        self._beat_at = 0.0
        self.housekeeper = Housekeeper(Chores(lambda: self._dead, self._have_more).all())
        #: workers whose steps are to be given back
        self._dead: list[str] = []
        self._last_survey: Survey | None = None
        self._surveyed_at = 0.0
        #: when to claim due runs although no slot is free: many need none
        self._claim_at = 0.0
        #: when to look for pending steps at the latest, however many runs are due
        self._steps_at = 0.0
        #: whether runs are parked, and when to see which of them may be tried again
        self._any_parked = False
        self._parked_at = 0.0
        #: workers whose lock is gone, and since when this process has seen that
        self._suspects: dict[str, float] = {}
        self._lost_at = -RETURN_TIME

    def stop(self) -> None:
        """Stop claiming, let running steps finish or release them, end. Safe from a signal handler."""
        self.stopping.set()
        self.doorbell.ring()

    def sessions(self) -> list[Any]:
        """The psycopg connections that Django does not know."""
        return [self.doorbell.connection]

    def wake(self) -> None:
        self.doorbell.ring()

    # --- the main loop -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until :meth:`stop` is called; reconnect indefinitely while the database is away."""
        orm_guard.install()
        pause = _FIRST_RECONNECT
        try:
            while not self.stopping.is_set():
                try:
                    self._open()
                    idle = self._round()
                    pause = _FIRST_RECONNECT
                    if idle and self.burst and self._finished():
                        break
                except Exception as error:  # noqa: BLE001 - what was reported must not be lost with this process
                    self._recover(error)
                    self.stopping.wait(pause)
                    pause = min(pause * 2, _LAST_RECONNECT)
                    self.advancer.more_due = True
                    continue
                if idle:
                    self.doorbell.wait(self._longest_wait())
        finally:
            self._close()

    def _open(self) -> None:
        if self._registered:
            return
        self.doorbell.open()
        now = database.now()
        declared.synchronise(now)
        skew = (clock.now() - now) / timedelta(seconds=1)
        worker_rows.register_worker(
            self.worker_id,
            self.scope,
            concurrency=self.concurrency,
            lock_key=self.doorbell.lock_key,
            lock_trusted=self.doorbell.lock_trusted,
            listening=self.doorbell.listening,
            skew=round(skew, 3),
        )
        self._registered = True
        self.housekeeper.start()
        self._beat_at = time.monotonic() + conf.settings.HEARTBEAT_INTERVAL

    def _round(self) -> bool:
        """One round: what has come in, what is due, what time asks for. True: the loop may wait."""
        if self.advancer.uncertain:
            self.advancer.uncertain, self._next_survey_at = False, 0.0
        self.executor.check_deadlines()
        if self.advancer.is_load_high:
            self.advancer.all_reported.wait(GATHER_TIME)
            self.doorbell.wait(0)  # what has been notified meanwhile
        notified = self.doorbell.heard()
        if notified is None or len(notified) > MIN_CLAIM or self._is_due():
            self.advancer.more_due = True
        claim = self.advancer.more_due and (self.slots.free > 0 or time.monotonic() >= self._claim_at)
        limit = self.advancer.claim_limit
        claimed = self.advancer.turn(claim=claim, notified=notified or ())
        if claim:
            self.advancer.more_due = claimed >= limit
            self._claim_at = time.monotonic() + SOON
            self._next_survey_at = min(self._next_survey_at, self._claim_at)
            if not claimed or time.monotonic() >= self._steps_at:  # due runs must not starve pending steps
                self._steps_at = time.monotonic() + SOON
                if self.advancer.claim_steps():
                    self.advancer.more_due = True
        if self.slots.free and (self._parked_is_due() or (claim and self.advancer.has_doubts)):
            self._parked_at = time.monotonic() + PARKED_INTERVAL
            if self.advancer.claim_doubtful():
                self.advancer.more_due, self._parked_at = True, time.monotonic() + SOON
        if time.monotonic() >= self._next_survey_at:
            self._survey()
        self._upkeep()
        return not (self.advancer.more_due and self.slots.free and self.advancer.refusals.may_claim)

    def _parked_is_due(self) -> bool:
        return self._any_parked and time.monotonic() >= self._parked_at

    def _is_due(self) -> bool:
        """Whether time alone has made something due since the last survey."""
        survey = self._last_survey
        if survey is None:
            return False
        now = survey.now + timedelta(seconds=time.monotonic() - self._surveyed_at)
        moments = (survey.next_run, survey.next_step if self.slots.free else None)
        if any(moment is not None and moment <= now for moment in moments):
            self._last_survey = None  # used: the next one says what follows
            self._next_survey_at = min(self._next_survey_at, time.monotonic() + 0.05)
            return True
        return False

    def _longest_wait(self) -> float:
        """Seconds that the loop may wait when nothing wakes it."""
        now = time.monotonic()
        waits = [self._next_survey_at - now, self._beat_at - now, self.executor.next_deadline()]
        if (at := self.advancer.inbox.next_deferred) is not None:
            waits.append(at - now)
        if self._any_parked and self.slots.free:
            waits.append(self._parked_at - now)
        if self.advancer.more_due:
            waits.append(max(self._claim_at, self.advancer.refusals.claim_at) - now)
        waits.append(_seconds_until(self.advancer.bodies.next_due(), self.advancer.connection.now()))
        if (survey := self._last_survey) is not None:
            passed = now - self._surveyed_at
            moments = (survey.next_run, survey.next_step if self.slots.free else None)
            waits += [seconds - passed for m in moments if (seconds := _seconds_until(m, survey.now)) is not None]
        return max(0.0, min(wait for wait in waits if wait is not None))

    # --- the survey --------------------------------------------------------------------------------------------------

    def _survey(self) -> Survey:
        timeout = timedelta(seconds=conf.settings.HEARTBEAT_TIMEOUT)
        # not while another thread has the turn: the connection belongs to it
        with self.advancer.paused(), self.advancer.connection.lent():
            held = self.advancer.held()
            survey = claims.survey(self.scope, self.worker_id, held, timeout, self.advancer.connection.execute)
            self.advancer.connection.set_clock(survey.now)
        self._last_survey, self._surveyed_at = survey, time.monotonic()
        self._any_parked = survey.any_parked
        self._next_survey_at = self._surveyed_at + conf.settings.POLL_INTERVAL
        self._dead = self._surely_dead(survey.dead_workers)
        if self._dead:
            self.housekeeper.ask(RESCUE)
        if survey.outbox_pending:
            self.housekeeper.ask(DELIVER)
        self._make_ticks(survey)
        for step_id in survey.lapsed:
            if (attempt := self.advancer.in_flight.get(step_id)) is not None:
                self.executor.cancel(attempt)
        settle_unheld(self.advancer, survey.unheld)
        return survey

    def _make_ticks(self, survey: Survey) -> None:
        """Make the ticks that are due, and look again when the next one is."""
        if survey.next_tick is None:
            return
        wait = (survey.next_tick - survey.now).total_seconds()
        if wait <= 0 and ticks.make_due(self.scope.workflows):
            self.advancer.more_due = True
        self._next_survey_at = min(self._next_survey_at, self._surveyed_at + max(wait, SOON))

    def _surely_dead(self, worker_ids: Sequence[str]) -> list[str]:
        """Those that look dead twice. After an outage that this worker has seen itself, all others may take time to return."""
        now = time.monotonic()
        self._suspects = {pk: self._suspects.get(pk, now) for pk in worker_ids if pk != self.worker_id}
        if not self._suspects or now - self._lost_at < RETURN_TIME:
            return []
        dead = [pk for pk, since in self._suspects.items() if now - since >= CONFIRM_TIME]
        if len(dead) < len(self._suspects):
            self._next_survey_at = min(self._next_survey_at, now + CONFIRM_TIME)
        return dead

    def _upkeep(self) -> None:
        now = time.monotonic()
        if self.doorbell.keep_open():
            worker_rows.set_liveness(
                self.worker_id,
                lock_key=self.doorbell.lock_key,
                lock_trusted=self.doorbell.lock_trusted,
                listening=self.doorbell.listening,
            )
        if now >= self._beat_at:
            self._beat_at = now + conf.settings.HEARTBEAT_INTERVAL
            unsaved = self.advancer.refusals.unsaved
            if not worker_rows.beat(self.worker_id, len(self.advancer.in_flight), unsaved):
                self._begin_again()

    def _have_more(self) -> None:
        """A chore has made something due."""
        self.advancer.more_due = True
        self._next_survey_at = 0.0
        self.doorbell.ring()

    def _begin_again(self) -> None:
        """The others took this process for dead and have released its steps: continue under a new name."""
        logger.warning("Worker %s was taken for dead; it continues as a new one.", self.worker_id)
        for attempt in list(self.advancer.in_flight.values()):
            self.executor.cancel(attempt)
        self.worker_id = ids.worker_id()
        self.advancer.rename(self.worker_id)
        self._registered = False

    def _recover(self, error: Exception) -> None:
        """A round could not be finished. What it was about is kept, or is in the database."""
        if isinstance(error, ConnectionLostError | OSError):
            return self._lose(error)
        fault = faults.classify(error)
        if fault.needs_reconnect:
            return self._lose(error)
        if fault.will_pass:
            return self.advancer.refusals.note(fault)
        return logger.error("A round of the worker failed; it goes on.", exc_info=error)

    def _lose(self, error: Exception) -> None:
        fault = faults.classify(error)
        if fault.is_stale_statement:
            logger.warning("The worker connects to the database anew: %s.", fault.sentence)
        else:
            logger.warning(
                "The database is away (%s); the worker waits for it.", str(error).strip() or type(error).__name__
            )
        self._lost_at = time.monotonic()
        self.advancer.disconnect()
        self.doorbell.check()  # it may live, and then its lock shows the others that this process does
        self._last_survey = None
        self._next_survey_at = 0.0
        connections.close_all()

    def _finished(self) -> bool:
        """In burst mode: nothing is due, claimable or in flight."""
        if self.advancer.in_flight or not self.advancer.inbox.is_empty or self.housekeeper.is_busy:
            return False
        survey = self._survey()
        now = survey.now
        return (
            not self._parked_is_due()
            and not any(m is not None and m <= now for m in (survey.next_run, survey.next_step, survey.next_tick))
            and not survey.outbox_pending
        )

    # --- the end -----------------------------------------------------------------------------------------------------

    def _close(self) -> None:
        """Give running steps their grace, release the rest, and leave."""
        self.slots.close()
        self.housekeeper.stop()
        deadline = time.monotonic() + self.grace
        while (self.advancer.in_flight or not self.advancer.inbox.is_empty) and time.monotonic() < deadline:
            self._save()
            if self.advancer.in_flight:
                self.doorbell.wait(max(0.0, min(0.2, deadline - time.monotonic())))
            elif not self.advancer.inbox.is_empty:
                time.sleep(0.05)
        self.executor.release_all()
        self._save()
        if lost := len(self.advancer.inbox.unrecorded()):
            logger.warning(
                "The worker leaves with %d results that could not be saved; their steps are tried again.", lost
            )
        if self._registered:
            with suppress(*faults.DATABASE_ERRORS):
                worker_rows.stop_worker(self.worker_id)
        self.advancer.bodies.clear()
        self.advancer.connection.close()
        self.doorbell.close()
        connections.close_all()

    def _save(self) -> None:
        """Record what was reported, if the database takes it."""
        self.advancer.inbox.hurry()
        try:
            self.advancer.turn(claim=False)
        except (ConnectionLostError, *faults.DATABASE_ERRORS):
            time.sleep(_FIRST_RECONNECT)


def _seconds_until(moment: datetime | None, now: datetime) -> float | None:
    """From ``now`` to ``moment``, at least 0; None for None."""
    return None if moment is None else max(0.0, (moment - now) / timedelta(seconds=1))


def install_signals(stop: Callable[[], None]) -> None:
    """SIGTERM and SIGINT stop the process; a second SIGINT ends it at once."""

    def handle(number: int, _frame: object) -> None:
        stop()
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
