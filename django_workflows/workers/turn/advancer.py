"""Turns: everything that is ready now, in as few statements as possible. The package's essay tells what a turn is.

Any thread may take the turn, one at a time: a thread that has just finished a step usually advances the run itself and
continues with its next step, without a change of thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ... import conf
from ...engine import sandbox
from ...store import claims, committed, faults
from ...store.faults import Fault
from ...store.transition import Transition
from ..attempts.attempts import AlreadyRecorded, Attempt, Outcome
from ..link.connection import AdvancingConnection
from .bodies import Bodies
from .doubts import SHARE
from .fenced import Fenced
from .inbox import Inbox
from .locked import Locked
from .refusals import Refusals
from .settlement import Settlement, unsettled
from .work import Work
from .worker import Worker

#: runs that one turn claims at least, and with no free slot
MIN_CLAIM = 4
MAX_CLAIM_UNROOMED = 32


class ConnectionLostError(Exception):
    """The database is away; nothing of this turn is lost, it is done again when it is back."""


class Advancer:
    """The turns of one worker. To its executor it is :class:`~..executors.protocol.Turns`."""

    def __init__(self, worker: Worker, connection: AdvancingConnection | None = None) -> None:
        self.worker = worker
        self.connection = connection or AdvancingConnection()
        self.bodies = Bodies(conf.settings.CACHE_SIZE, worker.watchdog)
        self.inbox = Inbox()
        self.refusals = Refusals(self.inbox)
        self._turn = threading.RLock()
        self._settlement = Settlement(worker, self.bodies, self.inbox, self.connection)
        self._fenced = Fenced(worker, self.bodies, self.connection, self._settlement)
        self._locked = Locked(worker, self.bodies, self.inbox, self.connection, self._settlement, self.refusals)
        #: a commit's answer was lost: attempts may have been started without our knowing; the next survey says which
        self.uncertain = False
        #: more runs are due than were claimed; they are claimed when slots are free
        self.more_due = False

    # --- outcomes ----------------------------------------------------------------------------------------------------

    def report(self, outcome: Outcome) -> None:
        """Take an outcome; a turn records it. Safe from any thread."""
        self.inbox.put([outcome])  # first: at no moment may an attempt seem to be unknown here
        if isinstance(outcome, AlreadyRecorded):
            self._settlement.forget_begun([outcome])
        self._settlement.ended(outcome.attempt)

    def wake(self) -> None:
        """Have the main loop take the turn in a moment. Safe from any thread."""
        self.worker.wake()

    @property
    def in_flight(self) -> dict[str, Attempt]:
        """Attempts by step id, from their start's commit to their outcome."""
        return self._settlement.in_flight

    @property
    def all_reported(self) -> threading.Event:
        """Set when no attempt is in flight: no outcome is worth waiting for."""
        return self._settlement.all_reported

    def held(self) -> list[tuple[str, int]]:
        """(step id, number) of all attempts that are in flight, or whose outcome waits to be recorded.

        Complete only while no turn is taken.
        """
        unrecorded = (outcome.attempt for outcome in self.inbox.unrecorded())
        return [(attempt.step.id, attempt.number) for attempt in (*list(self.in_flight.values()), *unrecorded)]

    def has_begun(self, step_id: str, number: int) -> bool:
        """Whether this process has begun that attempt, and does not know that its end is recorded."""
        return (step_id, number) in self._settlement.begun

    def begin_adopted(self, attempts: Sequence[Attempt]) -> None:
        """Begin attempts that were started in the log without our knowing. Only while no turn is taken."""
        for _ in attempts:
            self.worker.slots.occupy()
        self._settlement.started.extend(attempts)
        self._settlement.begin_attempts()

    # --- who takes the turn ------------------------------------------------------------------------------------------

    @property
    def is_load_high(self) -> bool:
        """Many runs are under way: a turn that waits a moment is worth more."""
        return self._settlement.load.is_high

    @property
    def claim_limit(self) -> int:
        """Runs that one turn claims: about as many as there are free slots.

        With none it is a good few, as many need none; but hardly any while steps of others wait for a slot here. And
        nothing while the store refuses.
        """
        if not self.refusals.may_claim:
            return 0
        free = self.worker.slots.free
        return max(free, MIN_CLAIM) if free or self.inbox.backlog else MAX_CLAIM_UNROOMED

    def try_turn(self) -> None:
        """Take the turn unless another thread has it, which then sees to what has come in meanwhile.

        Where many runs are under way, gathering pays more than promptness: the main loop takes the turn instead.
        """
        is_load_high = self._settlement.load.is_high
        if is_load_high or (self.more_due and self.worker.slots.free):
            self.worker.wake()
        if is_load_high:
            return
        while self.inbox.has_outcomes and self._turn.acquire(blocking=False):
            try:
                self._take_turn(claim=False)
            finally:
                self._turn.release()

    def turn(self, *, claim: bool = True, notified: Sequence[str] = ()) -> int:
        """Take the turn, and with ``claim`` claim due runs; otherwise only those of the ``notified`` that are due.

        Returns how many due runs were claimed: ``MIN_CLAIM`` or more mean that there may be others.

        Raises:
            ConnectionLostError: the database is away.
        """
        with self._turn:
            claimed = self._take_turn(claim=claim, notified=notified)
        self.try_turn()  # what came in between the last look and the release
        return claimed

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No turn is taken during the block."""
        with self._turn:
            yield
        self.try_turn()  # what was reported meanwhile found the turn taken

    # --- the turn ----------------------------------------------------------------------------------------------------

    def _take_turn(self, *, claim: bool, notified: Sequence[str] = ()) -> int:
        claim = claim and self.refusals.may_claim  # before what waits to be saved is taken out of the inbox
        works = self.inbox.gather(self.bodies, self.connection.now(), self.worker.slots.free)
        claimed, refused = 0, self.refusals.count
        limit = self.claim_limit if claim else 0
        try:
            with self.connection.lent(), sandbox.gc_paused():
                left = self._fenced.advance(works) if self.connection.is_postgresql else works
                if left or limit or notified:
                    claimed = self._advance_locked(left, limit=limit, notified=notified)
                done = self._settlement.begin_and_notify()
        except faults.DATABASE_ERRORS as error:
            self._put_back(works)
            raise self._lost(error) from error
        except BaseException:  # ours: whatever becomes of this process, what was reported must not be forgotten
            self._put_back(works)
            raise
        if refused == self.refusals.count and (done or limit):
            self.refusals.note_answered(wrote=bool(done))
        committed.report(done)  # receivers are user code: not on the advancing connection
        return claimed

    def _advance_locked(
        self, works: Sequence[Work], *, limit: int, notified: Sequence[str] = (), doubtful: bool = False
    ) -> int:
        try:
            return self._locked.advance(works, limit=limit, notified=notified, doubtful=doubtful)
        except faults.DATABASE_ERRORS as error:
            self._require_refusal(error)
            for work in unsettled(works):
                self._locked.keep(work, faults.classify(error))
            return 0

    def claim_steps(self) -> bool:
        """Start steps that wait for any worker, as many as there are slots for. True: some were started.

        Raises:
            ConnectionLostError: the database is away.
        """
        with self.paused():
            # what waits here goes first, with whatever else there is to write for its run
            room = self.worker.slots.free - len(self.inbox.backlog)
            if room <= 0 or not self.refusals.may_claim:
                return False
            try:
                with self.connection.lent():
                    begun, done = self._start_claimable(room)
            except faults.DATABASE_ERRORS as error:
                self._put_back([])
                raise self._lost(error) from error
            committed.report(done)
            return begun

    def claim_doubtful(self) -> bool:
        """Advance due runs that are parked, or likely to be: a bounded share of what a turn claims, in a turn of their own.

        True: there may be more of them.

        Raises:
            ConnectionLostError: the database is away.
        """
        limit = max(1, self.claim_limit // SHARE)
        with self.paused():
            if not self.refusals.may_claim:
                return False
            try:
                with self.connection.lent(), sandbox.gc_paused():
                    claimed = self._advance_locked([], limit=limit, doubtful=True)
                    done = self._settlement.begin_and_notify()
            except faults.DATABASE_ERRORS as error:
                self._put_back([])
                raise self._lost(error) from error
        committed.report(done)
        return claimed >= limit

    @property
    def has_doubts(self) -> bool:
        """Whether due runs are passed over that will hardly fit."""
        return bool(self._locked.doubts.workflows())

    def _start_claimable(self, room: int) -> tuple[bool, list[Transition]]:
        """Whether to look again, and what was committed."""
        try:
            hints = self._claimable(room)
            if hints:
                self._locked.start_pending(hints)
        except faults.DATABASE_ERRORS as error:
            return self._require_refusal(error).is_conflict, []
        begun = bool(self._settlement.started)
        return begun, self._settlement.begin_and_notify()

    def _claimable(self, room: int) -> list[tuple[str, str]]:
        unstartable = self._locked.unstartable()
        return claims.claimable_steps(self.worker.scope, room, self.connection.execute, unstartable)

    # --- when the store refuses --------------------------------------------------------------------------------------

    def _require_refusal(self, error: Exception) -> Fault:
        """Claim nothing for a while, if the store refuses for now; raise the error if another connection is needed."""
        fault = faults.classify(error)
        if fault.needs_reconnect or not self.connection.usable:
            raise error
        if not fault.is_conflict:
            self.refusals.note(fault)
            self.refusals.hold_claims()
        return fault

    def _lost(self, error: Exception) -> ConnectionLostError:
        fault = faults.classify(error)
        self.refusals.note(fault)
        return ConnectionLostError(fault.sentence)

    # --- when the database is away, or the worker is not who it was -----------------------------------------------------

    def _put_back(self, works: Sequence[Work]) -> None:
        """Outcomes wait until the database is back. Whether the last commit went through is then read from the rows."""
        self.uncertain = True
        self._settlement.forget()
        self.inbox.put(outcome for work in unsettled(works) for outcome in work.outcomes)
        self.connection.close()

    def disconnect(self) -> None:
        """Close the connection, never under another thread's turn: what that has begun must not continue in a new one."""
        with self._turn:
            self.uncertain = True
            self.connection.close()

    def rename(self, worker_id: str) -> None:
        """Continue as another worker; what the old one had in flight is no longer ours."""
        with self._turn:
            self.worker.worker_id = worker_id
            self.bodies.clear()
            self.inbox.backlog.clear()
