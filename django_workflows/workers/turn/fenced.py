"""Behind the fence: runs whose bodies are at hand, advanced without a lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from ...engine import sandbox
from ...store import claims, write_sql
from ...store.transactions import atomic
from ...store.transition import Transition
from ...store.write import write_rows
from ..link.connection import AdvancingConnection
from .bodies import Bodies
from .outcomes import is_at_hand
from .settlement import Result, Settling
from .transition_steps import Advance, NeedsLockError, Work

#: runs that one statement is for at least, and statements that a turn writes at most
_CHUNK = 12
_CHUNKS = 3


class _Writing:
    """Transitions that are being written by one statement; ``answer`` waits until it is done."""

    __slots__ = ("answer", "failure", "results", "written")

    def __init__(self, results: list[Result]) -> None:
        self.results = results
        self.answer: Callable[[], Sequence[tuple[Any, ...]]] | None = None
        self.written: set[str] = set()
        self.failure: Exception | None = None


class Fenced:
    """What cannot be done here, or is refused by the fence, is left to the locked way."""

    def __init__(self, advance: Advance, bodies: Bodies, connection: AdvancingConnection, settling: Settling) -> None:
        self._advance, self._bodies, self._connection, self._settling = advance, bodies, connection, settling

    def advance(self, works: Sequence[Work]) -> list[Work]:
        """Advance the runs whose bodies are at hand, without a lock. Returns the works that need the lock.

        Many are written in a few statements: while the server is busy with one, the bodies for the next are driven and
        the steps of the one before begin.
        """
        leftover: list[Work] = []
        upgrades: list[Result] = []
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

    def _decide_unlocked(self, works: Sequence[Work], upgrades: list[Result], leftover: list[Work]) -> list[Result]:
        results: list[Result] = []
        now = self._connection.now()
        with sandbox.draining():  # nothing in here asks the database
            for work in works:
                self._try_unlocked(work, now, results, upgrades, leftover)
        return results

    def _try_unlocked(
        self, work: Work, now: datetime, results: list[Result], upgrades: list[Result], leftover: list[Work]
    ) -> None:
        body = self._bodies.get(work.run_id)
        if body is None or work.foreign or body.contended:
            leftover.append(work)
            return
        result = Result(work, Transition(body.entities, now), body)
        if not all(is_at_hand(result.transition, outcome) for outcome in work.outcomes):
            leftover.append(work)
            return
        try:
            self._advance.arrivals(result.transition, work, locked=False)
            self._advance.decide(result.transition, body, locked=False)
        except NeedsLockError:
            upgrades.append(result)
        except Exception:  # noqa: BLE001 - told in full by the locked way, which does it again from the log
            self._settling.give_up(result, leftover)
        else:
            self._settling.start_steps(result)
            results.append(result)

    def _send(self, results: list[Result]) -> _Writing:
        """Begin to write, and leave the server to it."""
        changed = [result.transition for result in results if not result.transition.empty]
        writing = _Writing(results)
        if changed:
            try:
                writing.answer = self._connection.send(*write_sql.fenced_statement(changed))
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
            if not self._connection.usable:
                raise writing.failure
            return
        for result in writing.results:
            if result.transition.empty or result.transition.run.id in writing.written:
                self._settling.settle(result)
            else:
                self._settling.give_up(result, leftover, contended=True)
        self._settling.begin_attempts()

    def _give_up_all(self, writing: _Writing, leftover: list[Work]) -> None:
        for result in writing.results:
            self._settling.give_up(result, leftover)

    def _upgrade(self, result: Result, leftover: list[Work]) -> None:
        """Go on under the run's lock, if nothing has come in between; else begin again there."""
        transition_, body = result.transition, result.body
        assert body is not None
        try:
            with atomic():
                locked = claims.lock_for_outcomes([result.work.run_id], self._connection.execute)
                if not locked or not _same(locked[0], transition_):
                    raise NeedsLockError
                self._advance.decide(transition_, body, locked=True)
                self._settling.start_steps(result)
                write_rows([transition_], self._connection.execute_or_none)
        except Exception:
            self._settling.give_up(result, leftover)
            if not self._connection.usable:
                raise
            return
        self._settling.settle(result)


def _same(locked: Transition, decided: Transition) -> bool:
    run = locked.run
    return run.last_sequence == decided.expected_sequence and run.last_event_at == decided.expected_at
