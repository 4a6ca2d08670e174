"""Turns: everything that is ready now, in as few statements as possible.

A turn takes the outcomes that have come in, the runs that are due and the pending steps there is room for. Runs whose body
is at hand go behind the fence: all of them in one statement, no lock taken before (*fuse*, *group*, *keep*). The rest, and
those that the fence refused, are locked, read and written in one transaction. When a batch fails, its runs are done again
one by one, so that one bad run never holds up the others.

Any thread may take the turn, one at a time: a thread that has just finished a step usually advances the run itself and goes
on with its next step, without handing over to anybody.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import DatabaseError, IntegrityError, InterfaceError, transaction

from .. import conf
from ..engine import ExecutionSettings, sandbox
from ..exceptions import CorruptedEventLogError, ReplayDivergenceError
from ..serialization import encode_error
from ..services import claims, database, locking, outbox, repair, runs, write_fast
from ..services.claims import Interest
from ..services.transition import Transition
from ..services.write import ring_for, send_signals, write, write_rows
from ..statuses import StepStatus
from .advance import Advance, NeedsLockError, Work
from .attempts import Attempt, Failed, Outcome, Recorded
from .bodies import Bodies, Body
from .connection import AdvancingConnection
from .crowd import Crowd
from .outcomes import is_at_hand, record_outcome, record_outcomes
from .recall import Recall
from .slots import Slots
from .watch import Watch

logger = logging.getLogger(__name__)

#: runs that one turn takes up at least, and with no free slot
MIN_CLAIM = 4
MAX_CLAIM_UNROOMED = 32
MAX_TIMERS = 200
#: runs that one statement behind the fence is for at least, and statements that a turn writes at most
_CHUNK = 12
_CHUNKS = 3
#: tries of one run whose transaction PostgreSQL ended to break a deadlock
_TRIES = 8


class ConnectionLostError(Exception):
    """The database is away; nothing of this turn is lost, it is done again when it is back."""


class _Result:
    """What one run's transition came to, to be settled once it is committed."""

    __slots__ = ("attempts", "body", "left", "transition", "work")

    def __init__(self, work: Work, transition: Transition, body: Body | None) -> None:
        self.work, self.transition, self.body = work, transition, body
        self.attempts: list[Attempt] = []
        self.left: list[str] = []


class _Writing:
    """Transitions that are being written by one statement; ``answer`` waits until it is done."""

    __slots__ = ("answer", "failure", "results", "written")

    def __init__(self, results: list[_Result]) -> None:
        self.results = results
        self.answer: Callable[[], Sequence[tuple[Any, ...]]] | None = None
        self.written: set[str] = set()
        self.failure: Exception | None = None


class Advancer:
    """``begin`` is given each attempt once its start is committed; ``slots`` says how many may be in hand."""

    def __init__(
        self,
        worker_id: str,
        interest: Interest,
        *,
        slots: Slots,
        begin: Callable[[Attempt], None],
        watch: Watch,
        webhook_url: Callable[[str], str],
        connection: AdvancingConnection | None = None,
    ) -> None:
        self.worker_id = worker_id
        self.interest = interest
        self.connection = connection or AdvancingConnection()
        self.bodies = Bodies(conf.settings.CACHE_SIZE, watch)
        #: attempts in hand by step id, from their start's commit to their outcome
        self.in_hand: dict[str, Attempt] = {}
        #: the worker stops: nothing new is started
        self.draining = False
        #: a commit's answer was lost: attempts may have been started without our knowing
        self.uncertain = False
        self.slots = slots
        self._begin = begin
        self._inbox: deque[Outcome] = deque()
        self._backlog: deque[tuple[str, str]] = deque()
        #: works whose run a long transaction holds, and when (``time.monotonic()``) to try again
        self._deferred: list[tuple[float, Work]] = []
        self._turn = threading.RLock()
        self._advance = Advance(worker_id, interest, watch, self._take_slots)
        settings = ExecutionSettings(
            max_events=conf.settings.MAX_EVENTS_PER_RUN,
            max_payload_bytes=conf.settings.MAX_PAYLOAD_BYTES,
            webhook_url=webhook_url,
        )
        self._recall = Recall(self.bodies, self.connection, settings, watch)
        self._crowd = Crowd()
        #: more runs are due than were claimed; they are claimed when slots are free
        self.more_due = False
        #: tells the main loop to take the turn in a moment
        self.gather: Callable[[], None] | None = None
        #: nothing is in hand: whoever waits for more to come in need not wait longer
        self.all_reported = threading.Event()
        self._begun: list[Attempt] = []
        self._done: list[Transition] = []

    # --- slots and outcomes ------------------------------------------------------------------------------------------

    def _take_slots(self, wanted: int) -> int:
        return 0 if self.draining else self.slots.take(wanted)

    @property
    def room(self) -> int:
        return 0 if self.draining else self.slots.free

    def report(self, outcome: Outcome) -> None:
        """Take an outcome; a turn records it. Safe from any thread."""
        attempt = outcome.attempt
        self._inbox.append(outcome)  # first: at no moment may an attempt seem to be unknown here
        if self.in_hand.get(attempt.step.id) is attempt:
            del self.in_hand[attempt.step.id]
            if not self.in_hand:
                self.all_reported.set()

    def rename(self, worker_id: str) -> None:
        """Go on as another worker; what the old one had in hand is no longer ours."""
        with self._turn:
            self.worker_id = self._advance.worker_id = worker_id
            self.bodies.clear()
            self._backlog.clear()

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
        return max(self.room, MIN_CLAIM) if self.room or self._backlog else MAX_CLAIM_UNROOMED

    @property
    def crowded(self) -> bool:
        """Many runs are under way: a turn that waits a moment is worth more."""
        return self._crowd.many

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
        if self.gather is not None and (self._crowd.many or (self.more_due and self.room)):
            self.gather()
        if self._crowd.many and self.gather is not None:
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
            with self.connection.lent(), sandbox.uncollected():
                leftover = self._behind_fence(works) if self.connection.is_postgresql else works
                if leftover or claim or rung_for:
                    claimed = self._under_lock(leftover, claim=claim, rung_for=rung_for)
                done = self._hand_out()
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
            if isinstance(outcome, Recorded):
                work.foreign = True
            else:
                work.outcomes.append(outcome)
        self._take_deferred(works)
        for run_id in self.bodies.due(self.connection.now(), MAX_TIMERS):
            works.setdefault(run_id, Work(run_id))
        room = self.room
        while room > 0 and self._backlog:
            run_id, correlation_id = self._backlog.popleft()
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
        self.bodies.clear()
        self._backlog.clear()
        self._inbox.extend(outcome for work in works for outcome in work.outcomes)
        self.slots.give_back(len(self._begun))
        self._begun.clear()
        self._done.clear()
        self.connection.close()

    # --- behind the fence --------------------------------------------------------------------------------------------

    def _behind_fence(self, works: Sequence[Work]) -> list[Work]:
        """Advance the runs whose bodies are at hand, without a lock. Returns the works that need the lock.

        Many are written in a few statements: while the server is busy with one, the bodies for the next are driven and
        the steps of the one before begin.
        """
        leftover: list[Work] = []
        upgrades: list[_Result] = []
        unsettled: deque[_Writing] = deque()
        size = max(_CHUNK, -(-len(works) // _CHUNKS))
        try:
            for start in range(0, len(works), size):
                results = self._decide_unlocked(works[start : start + size], upgrades, leftover)
                self._receive(unsettled)
                unsettled.append(self._send(results))
                if len(unsettled) > 1:
                    self._settle_written(unsettled.popleft(), leftover)
            self._receive(unsettled)
            while unsettled:
                self._settle_written(unsettled.popleft(), leftover)
        except BaseException:
            for writing in unsettled:
                self._give_up_all(writing, leftover)
            raise
        for result in upgrades:
            self._upgrade(result, leftover)
        return leftover

    def _decide_unlocked(self, works: Sequence[Work], upgrades: list[_Result], leftover: list[Work]) -> list[_Result]:
        results: list[_Result] = []
        now = self.connection.now()
        with sandbox.draining():  # nothing in here asks the database
            for work in works:
                self._try_unlocked(work, now, results, upgrades, leftover)
        return results

    def _try_unlocked(
        self, work: Work, now: datetime, results: list[_Result], upgrades: list[_Result], leftover: list[Work]
    ) -> None:
        body = self.bodies.get(work.run_id)
        if body is None or work.foreign or body.contended:
            leftover.append(work)
            return
        result = _Result(work, Transition(body.picture, now), body)
        if not all(is_at_hand(result.transition, outcome) for outcome in work.outcomes):
            leftover.append(work)
            return
        try:
            self._advance.arrivals(result.transition, work, locked=False)
            self._advance.decide(result.transition, body, locked=False)
        except NeedsLockError:
            upgrades.append(result)
        except Exception:  # noqa: BLE001 - told in full by the locked way, which does it again from the log
            self._give_up(result, leftover)
        else:
            self._start_steps(result)
            results.append(result)

    def _start_steps(self, result: _Result) -> None:
        result.attempts, result.left = self._advance.start_steps(result.transition, result.work.starts)
        if result.body is not None and not result.transition.run.ended:
            for record in result.transition.records(result.body.execution.last_sequence):
                result.body.execution.deliver(record)

    def _send(self, results: list[_Result]) -> _Writing:
        """Begin to write, and leave the server to it."""
        changed = [result.transition for result in results if not result.transition.empty]
        writing = _Writing(results)
        if changed:
            try:
                writing.answer = self.connection.send(*write_fast.fenced_statement(changed))
            except Exception as error:  # noqa: BLE001 - raised when it is settled
                writing.failure = error
        return writing

    def _receive(self, unsettled: Sequence[_Writing]) -> None:
        """Wait for the answer to the last statement, so that the connection can be used."""
        if not unsettled or (answer := unsettled[-1].answer) is None:
            return
        try:
            unsettled[-1].written = {row[0] for row in answer()}
        except Exception as error:  # noqa: BLE001 - likewise
            unsettled[-1].failure = error

    def _settle_written(self, writing: _Writing, leftover: list[Work]) -> None:
        if writing.failure is not None:
            self._give_up_all(writing, leftover)
            if not self.connection.usable:
                raise writing.failure
            return
        for result in writing.results:
            if result.transition.empty or result.transition.run.id in writing.written:
                self._settle(result)
            else:
                self._give_up(result, leftover, contended=True)
        self._begin_attempts()

    def _give_up_all(self, writing: _Writing, leftover: list[Work]) -> None:
        for result in writing.results:
            self._give_up(result, leftover)

    def _upgrade(self, result: _Result, leftover: list[Work]) -> None:
        """Go on under the run's lock, if nothing has come in between; else begin again there."""
        transition_, body = result.transition, result.body
        assert body is not None
        try:
            with transaction.atomic(using=database.alias()):
                locked = claims.lock_for_outcomes([result.work.run_id], self.connection.execute)
                if not locked or not _same(locked[0], transition_):
                    raise NeedsLockError
                self._advance.decide(transition_, body, locked=True)
                self._start_steps(result)
                write_rows([transition_], self.connection.execute_or_none)
        except Exception:
            self._give_up(result, leftover)
            if not self.connection.usable:
                raise
            return
        self._settle(result)

    def _give_up(self, result: _Result, leftover: list[Work], *, contended: bool = False) -> None:
        self.slots.give_back(len(result.attempts))
        result.attempts = []
        self.bodies.drop(result.work.run_id, contended=contended)
        leftover.append(result.work)

    # --- under the lock ----------------------------------------------------------------------------------------------

    def _under_lock(self, works: Sequence[Work], *, claim: bool, rung_for: Sequence[str] = ()) -> int:
        """Advance these runs, and with ``claim`` those that are due, in one transaction; one by one if that fails.

        Returns how many due runs were claimed.
        """
        limit = self.claim_limit if claim else 0
        results: list[_Result] = []
        try:
            self._batch(works, limit, results, rung_for)
        except Exception as error:
            self._undo(results)
            if not self.connection.usable:
                raise
            by_run = {work.run_id: work for work in works}
            for result in results:
                by_run.setdefault(result.work.run_id, Work(result.work.run_id))
            if len(by_run) != 1:
                logger.debug("A batch of %d runs failed (%s); they are done one by one.", len(by_run), error)
            for work in by_run.values():
                self._alone(work)
            return max(0, len(by_run) - len(works))
        for result in results:
            self._settle(result)
        return max(0, len(results) - len(works))

    def _batch(self, works: Sequence[Work], limit: int, results: list[_Result], rung_for: Sequence[str] = ()) -> None:
        held: list[Work] = []
        by_run = {work.run_id: work for work in works}
        found: dict[str, claims.Claimed] = {}
        with self._dropping(found), transaction.atomic(using=database.alias()):
            # waited for in the order of their ids, before the due ones, which are never waited for
            if fresh := sorted(run_id for run_id, work in by_run.items() if not work.tries):
                for locked in claims.lock_for_outcomes(fresh, self.connection.execute):
                    found[locked.run.id] = claims.Claimed(locked, None)
            if again := [run_id for run_id, work in by_run.items() if work.tries]:
                for locked in claims.lock_for_outcomes(again, self.connection.execute, skip_locked=True):
                    found[locked.run.id] = claims.Claimed(locked, None)
                held = [by_run[run_id] for run_id in claims.existing_runs(again) if run_id not in found]
            due: Sequence[claims.Claimed] = ()
            if limit:
                due = claims.claim_due_runs(self.interest, limit, self.connection.execute)
            elif rung_for:
                due = claims.claim_these_runs(self.interest, rung_for, self.connection.execute)
            for claimed in due:
                found.setdefault(claimed.transition.run.id, claimed)
            everything = self._recall.bodies_for(list(found.values()))
            for recalled in everything:
                run_id = recalled.transition.run.id
                results.append(_Result(by_run.get(run_id) or Work(run_id), recalled.transition, recalled.body))
            for result, recalled in zip(results, everything, strict=True):
                self._locked(result, recalled.foreign)
            write_rows([result.transition for result in results], self.connection.execute_or_none)
        for work in held:
            self._defer(work)
        for result in results:
            self.connection.set_clock_from(result.transition)

    @contextmanager
    def _dropping(self, found: Mapping[str, object]) -> Iterator[None]:
        """After a failure, forget the bodies of all these runs, also of those whose turn had not come: their pictures
        may be ahead of what the bodies were told, and would pass for complete."""
        try:
            yield
        except BaseException:
            for run_id in found:
                self.bodies.drop(run_id)
            raise

    def _locked(self, result: _Result, foreign: Sequence[object]) -> None:
        transition_, body, work = result.transition, result.body, result.work
        if body is None:  # ended, or of a workflow that this process does not know: only what it was told is recorded
            if work.outcomes:
                record_outcomes(transition_, work.outcomes)
            return
        self._recall.catch_up(body, foreign)
        self._advance.arrivals(transition_, work, locked=True)
        self._advance.decide(transition_, body, locked=True)
        self._start_steps(result)

    def _undo(self, results: Sequence[_Result]) -> None:
        for result in results:
            self.slots.give_back(len(result.attempts))
            result.attempts = []
            self.bodies.drop(result.work.run_id)
            if result.body is not None:
                self.bodies.close(result.body)

    def _alone(self, work: Work) -> None:
        """Advance one run in its own transaction; put it off if somebody holds it, park it if it cannot be advanced."""
        for attempt in range(_TRIES):
            results: list[_Result] = []
            try:
                self._batch([work], 0, results)
            except Exception as error:
                self._undo(results)
                if not self.connection.usable:
                    raise
                if database.is_deadlock(error) and attempt < _TRIES - 1:
                    continue
                if isinstance(error, IntegrityError | CorruptedEventLogError) and not attempt and self._repair(work):
                    continue
                self._park(work, error)
                return
            for result in results:
                self._settle(result)
            return

    def _repair(self, work: Work) -> bool:
        """The tables may contradict the log: a partial restore, a hand in the tables. True: they did, and no longer do."""
        try:
            with transaction.atomic(using=database.alias()):
                done = repair.repair_run(work.run_id)
        except Exception:
            if not self.connection.usable:
                raise
            return False
        if done:
            logger.warning("Run %s was repaired from its log: %s.", work.run_id, "; ".join(done))
        return bool(done)

    def _park(self, work: Work, error: Exception) -> None:
        """The run cannot be advanced here: record what was reported, say why, and try again later."""
        waits = database.is_lock_timeout(error)
        if waits:
            reason = "Another transaction holds what the run needs: its row, or the token of a hook."
        else:
            logger.warning("Run %s cannot be advanced: %s", work.run_id, error, exc_info=not _expected(error))
            reason = str(error) if _expected(error) else f"internal error: {type(error).__name__}: {error}"
        unwritable = [Failed(outcome.attempt, encode_error(error), fatal=True) for outcome in work.outcomes]
        for outcomes in (work.outcomes, unwritable, []):  # what was reported may itself be what cannot be written
            try:
                found = self._block(work.run_id, outcomes, reason)
            except Exception:
                if not self.connection.usable:
                    raise
                logger.exception("Run %s cannot be parked with what its steps reported.", work.run_id)
                continue
            if not found and claims.existing_runs([work.run_id]):
                self._defer(work)
            return

    def _block(self, run_id: str, outcomes: Sequence[Outcome], reason: str) -> bool:
        """Record outcomes and park the run. False: somebody holds it, or it is gone."""
        with transaction.atomic(using=database.alias()):
            found = locking.lock_runs([run_id], skip_locked=True)
            for locked in found:
                for outcome in outcomes:
                    record_outcome(locked, outcome)
                runs.block_run(locked, reason, self.interest.code_version)
                write([locked])
        return bool(found)

    # --- pending steps -----------------------------------------------------------------------------------------------

    def claim_steps(self) -> bool:
        """Start steps that wait for any worker, as many as there is room for. True: some were started."""
        with self.paused():
            room = self.room - len(self._backlog)  # those go first, with what else there is to write for their runs
            if room <= 0:
                return False
            try:
                with self.connection.lent():
                    hints = claims.claimable_steps(self.interest, room, self.connection.execute)
                    if hints:
                        self._start_claimed(hints)
                    begun = bool(self._begun)
                    self._hand_out()
            except (DatabaseError, InterfaceError) as error:
                contended = self.connection.usable and (database.is_deadlock(error) or database.is_lock_timeout(error))
                self._put_back([])
                if contended:
                    return True
                raise ConnectionLostError(str(error)) from error
            return begun

    def _start_claimed(self, hints: Sequence[tuple[str, str]]) -> None:
        by_run: dict[str, list[str]] = {}
        for run_id, correlation_id in hints:
            by_run.setdefault(run_id, []).append(correlation_id)
        results: list[_Result] = []
        try:
            with transaction.atomic(using=database.alias()):
                for locked in claims.lock_for_outcomes(sorted(by_run), self.connection.execute, skip_locked=True):
                    work = Work(locked.run.id, starts=by_run[locked.run.id])
                    body = self._recall.in_step(locked)
                    result = _Result(work, locked, body)
                    if body is None:
                        locking.read_steps(locked, work.starts)
                    results.append(result)
                    self._start_steps(result)
                write_rows([result.transition for result in results], self.connection.execute_or_none)
        except BaseException:
            self._undo(
                results
            )  # their slots above all: whatever was started all the same is adopted later, and takes them
            raise
        for result in results:
            result.left = []
            self._settle(result, keep=result.body is not None)

    # --- after the commit --------------------------------------------------------------------------------------------

    def _settle(self, result: _Result, *, keep: bool = True) -> None:
        """The transition is committed: keep or drop its body, and note what follows from it."""
        run = result.transition.run
        self._crowd.note(run.id)
        if result.body is None or run.ended:
            if keep:
                self.bodies.drop(run.id)
            if result.body is not None:
                self.bodies.close(result.body)
        else:
            self.bodies.put(run.id, result.body)
        self._backlog.extend((run.id, correlation_id) for correlation_id in result.left)
        self._begun.extend(result.attempts)
        for step in result.transition.changed_steps.values():
            if step.status == StepStatus.CANCELLED and (attempt := self.in_hand.get(step.id)) is not None:
                attempt.cancel()
        self._done.append(result.transition)

    def _begin_attempts(self) -> None:
        begun, self._begun = self._begun, []
        if begun:
            self.all_reported.clear()
        for attempt in begun:
            self.in_hand[attempt.step.id] = attempt
            self._begin(attempt)

    def _hand_out(self) -> list[Transition]:
        """Let the attempts begin; then ring for others, and pay what is owed to other runs. Returns what was done."""
        self._begin_attempts()
        done, self._done = self._done, []
        ring_for(done, self.connection.execute_or_none)
        if any(transition_.outbox for transition_ in done):
            outbox.deliver()
        return done


def _same(locked: Transition, decided: Transition) -> bool:
    run = locked.run
    return run.last_sequence == decided.expected_sequence and run.last_event_at == decided.expected_at


def _expected(error: Exception) -> bool:
    return isinstance(error, ReplayDivergenceError | CorruptedEventLogError)
