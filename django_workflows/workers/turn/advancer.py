"""Turns: everything that is ready now, in as few statements as possible.

A turn takes the outcomes that have come in, the runs that are due and the pending steps there is room for. Runs whose body
is at hand go behind the fence: all of them in one statement, no lock taken before (*fuse*, *group*, *keep*). The rest, and
those that the fence refused, are locked, read and written in one transaction. When a batch fails, its runs are done again
one by one, so that one bad run never holds up the others.

Any thread may take the turn, one at a time: a thread that has just finished a step usually advances the run itself and goes
on with its next step, without handing over to anybody.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError

from ... import conf
from ...engine import sandbox
from ...recovery.replay_log import execution_settings
from ...store import claims, database
from ...store.claims import WorkerScope
from ...store.write import send_signals
from ..attempts.attempts import AlreadyRecorded, Attempt, Outcome
from ..attempts.slots import Slots
from ..link.connection import AdvancingConnection
from ..link.watchdog import Watchdog
from .bodies import Bodies
from .fenced import Fenced
from .locked import Locked
from .replay_cache import Recall
from .settlement import Settling
from .transition_steps import Advance, Work

#: runs that one turn takes up at least, and with no free slot
MIN_CLAIM = 4
MAX_CLAIM_UNROOMED = 32
MAX_TIMERS = 200


class ConnectionLostError(Exception):
    """The database is away; nothing of this turn is lost, it is done again when it is back."""


class Advancer:
    """``begin`` is given each attempt once its start is committed; ``slots`` says how many may be in hand."""

    def __init__(
        self,
        worker_id: str,
        scope: WorkerScope,
        *,
        slots: Slots,
        begin: Callable[[Attempt], None],
        watchdog: Watchdog,
        connection: AdvancingConnection | None = None,
    ) -> None:
        self.worker_id = worker_id
        self.scope = scope
        self.connection = connection or AdvancingConnection()
        self.bodies = Bodies(conf.settings.CACHE_SIZE, watchdog)
        #: the worker stops: nothing new is started
        self.draining = False
        #: a commit's answer was lost: attempts may have been started without our knowing
        self.uncertain = False
        self.slots = slots
        self._inbox: deque[Outcome] = deque()
        #: works whose run a long transaction holds, and when (``time.monotonic()``) to try again
        self._deferred: list[tuple[float, Work]] = []
        self._turn = threading.RLock()
        self._advance = Advance(worker_id, scope, watchdog, self._take_slots)
        recall = Recall(self.bodies, self.connection, execution_settings(), watchdog)
        self._settling = Settling(self._advance, self.bodies, self.connection, slots, begin)
        self._fenced = Fenced(self._advance, self.bodies, self.connection, self._settling)
        self._locked = Locked(scope, self._advance, recall, self.bodies, self.connection, self._settling, self._defer)
        #: more runs are due than were claimed; they are claimed when slots are free
        self.more_due = False
        #: tells the main loop to take the turn in a moment
        self.gather: Callable[[], None] | None = None

    # --- slots and outcomes ------------------------------------------------------------------------------------------

    def _take_slots(self, wanted: int) -> int:
        return 0 if self.draining else self.slots.take(wanted)

    @property
    def in_hand(self) -> dict[str, Attempt]:
        """Attempts by step id, from their start's commit to their outcome."""
        return self._settling.in_hand

    @property
    def all_reported(self) -> threading.Event:
        """Set when nothing is in hand: whoever waits for more to come in need not wait longer."""
        return self._settling.all_reported

    @property
    def room(self) -> int:
        return 0 if self.draining else self.slots.free

    def report(self, outcome: Outcome) -> None:
        """Take an outcome; a turn records it. Safe from any thread."""
        self._inbox.append(outcome)  # first: at no moment may an attempt seem to be unknown here
        self._settling.release(outcome.attempt)

    def rename(self, worker_id: str) -> None:
        """Go on as another worker; what the old one had in hand is no longer ours."""
        with self._turn:
            self.worker_id = self._advance.worker_id = worker_id
            self.bodies.clear()
            self._settling.backlog.clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No turn is taken during the block."""
        with self._turn:
            yield
        self.try_turn()  # what was reported meanwhile found the turn taken

    def disconnect(self) -> None:
        """Close the connection, never under another thread's turn: what that has begun must not go on in a new one."""
        with self._turn:
            self.uncertain = True
            self.connection.close()

    def known_steps(self) -> set[str]:
        """Steps that are in hand, or whose outcome waits to be recorded."""
        waiting = [*self._inbox, *(outcome for _, work in self._deferred for outcome in work.outcomes)]
        return {outcome.attempt.step.id for outcome in waiting} | set(self.in_hand)

    @property
    def claim_limit(self) -> int:
        """Runs that one turn takes up: about as many as there are free slots.

        With none it is a good few, as many need none; but hardly any while steps of others wait for a slot here.
        """
        return max(self.room, MIN_CLAIM) if self.room or self._settling.backlog else MAX_CLAIM_UNROOMED

    @property
    def crowded(self) -> bool:
        """Many runs are under way: a turn that waits a moment is worth more."""
        return self._settling.crowd.many

    @property
    def has_news(self) -> bool:
        return bool(self._inbox or self._deferred)

    @property
    def next_deferred(self) -> float | None:
        """``time.monotonic()`` when a run that somebody held is tried again."""
        return min((at for at, _ in self._deferred), default=None)

    # --- turns -------------------------------------------------------------------------------------------------------

    def try_turn(self) -> None:
        """Take the turn unless another thread has it, which then sees to what has come in meanwhile.

        Where many runs are under way, gathering pays more than promptness: the main loop is told instead.
        """
        if self.gather is not None and (self._settling.crowd.many or (self.more_due and self.room)):
            self.gather()
        if self._settling.crowd.many and self.gather is not None:
            return
        while self._inbox and self._turn.acquire(blocking=False):
            try:
                self._take_turn(claim=False)
            finally:
                self._turn.release()

    def turn(self, *, claim: bool = True, rung_for: Sequence[str] = ()) -> int:
        """Take the turn, and with ``claim`` claim due runs; otherwise only those that somebody has ``rung_for``.

        Returns how many due runs were claimed: ``MIN_CLAIM`` or more mean that there may be others.

        Raises:
            ConnectionLostError: the database is away.
        """
        with self._turn:
            claimed = self._take_turn(claim=claim, rung_for=rung_for)
        self.try_turn()  # what came in between the last look and the release
        return claimed

    def _take_turn(self, *, claim: bool, rung_for: Sequence[str] = ()) -> int:
        works = self._gather()
        claimed = 0
        try:
            with self.connection.lent(), sandbox.gc_paused():
                leftover = self._fenced.advance(works) if self.connection.is_postgresql else works
                if leftover or claim or rung_for:
                    limit = self.claim_limit if claim else 0
                    claimed = self._locked.advance(leftover, limit=limit, rung_for=rung_for)
                done = self._settling.hand_out()
        except (DatabaseError, InterfaceError) as error:
            self._put_back(works)
            raise ConnectionLostError(str(error)) from error
        except BaseException:  # ours: whatever becomes of this process, what was reported must not be forgotten
            self._put_back(works)
            raise
        send_signals(done)  # receivers are user code: not on the advancing connection
        return claimed

    def _gather(self) -> list[Work]:
        """Outcomes by run, bodies whose time has come, and pending steps for which slots are free now."""
        works: dict[str, Work] = {}
        for _ in range(len(self._inbox)):
            outcome = self._inbox.popleft()
            work = works.setdefault(outcome.attempt.run_id, Work(outcome.attempt.run_id))
            if isinstance(outcome, AlreadyRecorded):
                work.foreign = True
            else:
                work.outcomes.append(outcome)
        self._take_deferred(works)
        for run_id in self.bodies.due(self.connection.now(), MAX_TIMERS):
            works.setdefault(run_id, Work(run_id))
        room = self.room
        while room > 0 and self._settling.backlog:
            run_id, correlation_id = self._settling.backlog.popleft()
            if self.bodies.get(run_id) is not None:
                works.setdefault(run_id, Work(run_id)).starts.append(correlation_id)
                room -= 1
        return list(works.values())

    def _take_deferred(self, works: dict[str, Work]) -> None:
        now, waiting = time.monotonic(), self._deferred
        self._deferred = [item for item in waiting if item[0] > now]
        for at, work in waiting:
            if at <= now:
                known = works.setdefault(work.run_id, work)
                if known is not work:
                    known.outcomes[:0] = work.outcomes
                    known.tries = work.tries

    def _defer(self, work: Work) -> None:
        """Somebody's transaction holds the run: what was reported waits, and nobody else waits with it."""
        work.tries += 1
        work.starts.clear()
        self.bodies.drop(work.run_id)
        if work.outcomes:
            pause = min(0.02 * 2.0 ** min(work.tries, 10), 1.0) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads them
            self._deferred.append((time.monotonic() + pause, work))

    def _put_back(self, works: Sequence[Work]) -> None:
        """Outcomes wait until the database is back. Whether the last commit went through is then read from the rows."""
        self.uncertain = True
        self._settling.forget()
        self._inbox.extend(outcome for work in works for outcome in work.outcomes)
        self.connection.close()

    # --- pending steps -----------------------------------------------------------------------------------------------

    def claim_steps(self) -> bool:
        """Start steps that wait for any worker, as many as there is room for. True: some were started."""
        with self.paused():
            # what waits here goes first, with whatever else there is to write for its run
            room = self.room - len(self._settling.backlog)
            if room <= 0:
                return False
            try:
                with self.connection.lent():
                    hints = claims.claimable_steps(self.scope, room, self.connection.execute)
                    if hints:
                        self._locked.start_claimed(hints)
                    begun = bool(self._settling.begun)
                    self._settling.hand_out()
            except (DatabaseError, InterfaceError) as error:
                contended = self.connection.usable and (database.is_deadlock(error) or database.is_lock_timeout(error))
                self._put_back([])
                if contended:
                    return True
                raise ConnectionLostError(str(error)) from error
            return begun
