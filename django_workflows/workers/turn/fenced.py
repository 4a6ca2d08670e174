"""Optimistic path, fenced by ``last_sequence``: runs whose bodies are cached, advanced without a lock."""

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
from .outcomes import is_lease_cached
from .settlement import Settlement, unsettled
from .transition_steps import NeedsLockError, decide, record_arrivals, start_steps
from .work import Work
from .worker import Worker

#: runs that one statement is for at least, and statements that a turn writes at most
_CHUNK = 12
_CHUNKS = 3


class _Statement:
    """What one statement writes; ``answer`` waits until it is done."""

    __slots__ = ("answer", "failure", "works", "written")

    def __init__(self, works: Sequence[Work]) -> None:
        self.works = works
        self.answer: Callable[[], Sequence[tuple[Any, ...]]] | None = None
        #: ids of the runs that the fence let through
        self.written: set[str] = set()
        self.failure: Exception | None = None


class Fenced:
    """What cannot be done here, or is refused by the fence, is left to the locked path."""

    def __init__(self, worker: Worker, bodies: Bodies, connection: AdvancingConnection, settlement: Settlement) -> None:
        self._worker, self._bodies, self._connection, self._settlement = worker, bodies, connection, settlement

    def advance(self, works: Sequence[Work]) -> list[Work]:
        """Decide, write and settle without a lock. Returns the works that need the lock.

        Many are written in a few statements: while the server is busy with one, the bodies for the next are driven and
        the steps of the one before begin.
        """
        sent: deque[_Statement] = deque()
        size = max(_CHUNK, -(-len(works) // _CHUNKS))
        try:
            for first in range(0, len(works), size):
                now = self._connection.now()
                with sandbox.draining():  # nothing in here asks the database
                    decided = [work for work in works[first : first + size] if self._decide(work, now)]
                self._receive(sent)
                sent.append(self._send(decided))
                if len(sent) > 1:
                    self._settle(sent.popleft())
            self._receive(sent)
            while sent:
                self._settle(sent.popleft())
        except BaseException:
            self._settlement.undo(unsettled(works))
            raise
        for work in works:
            if work.needs_lock:
                self._finish_under_lock(work)
        return unsettled(works)

    # --- decide ------------------------------------------------------------------------------------------------------

    def _decide(self, work: Work, now: datetime) -> bool:
        """Drive the run's cached body. True: the work is ready to be written."""
        body = self._bodies.get(work.run_id)
        if body is None or work.needs_catch_up or body.contended:
            return False
        transition = Transition(body.entities, now)
        if not all(is_lease_cached(transition, outcome) for outcome in work.outcomes):
            return False
        work.load(transition, body)
        try:
            record_arrivals(work, self._worker, locked=False)
            decide(work, self._worker, locked=False)
            start_steps(work, self._worker)
        except NeedsLockError:
            work.needs_lock = True
        except Exception:  # noqa: BLE001 - the locked path repeats it from the log, and reports the error
            self._settlement.fall_back(work)
        else:
            return True
        return False

    # --- write -------------------------------------------------------------------------------------------------------

    def _send(self, works: Sequence[Work]) -> _Statement:
        """Begin to write, and leave the server to it."""
        statement = _Statement(works)
        changed = [work.transition for work in works if not work.transition.empty]
        if changed:
            try:
                statement.answer = self._connection.send(*write_sql.fenced_statement(changed))
            except Exception as error:  # noqa: BLE001 - raised when it is settled
                statement.failure = error
        return statement

    def _receive(self, sent: Sequence[_Statement]) -> None:
        """Wait for the answer to the last statement, so that the connection can be used."""
        if not sent or (answer := sent[-1].answer) is None:
            return
        try:
            sent[-1].written = {row[0] for row in answer()}
        except Exception as error:  # noqa: BLE001 - likewise
            sent[-1].failure = error

    # --- settle ------------------------------------------------------------------------------------------------------

    def _settle(self, statement: _Statement) -> None:
        if statement.failure is not None:
            self._settlement.undo(statement.works)
            if not self._connection.usable:
                raise statement.failure
            return
        for work in statement.works:
            if work.transition.empty or work.run_id in statement.written:
                self._settlement.settle(work)
            else:
                self._settlement.fall_back(work, contended=True)
        self._settlement.begin_attempts()

    def _finish_under_lock(self, work: Work) -> None:
        """Go on under the run's lock, if nothing has come in between; else begin again there."""
        try:
            with atomic():
                locked = claims.lock_for_outcomes([work.run_id], self._connection.execute)
                if not locked or not _is_same(locked[0], work.transition):
                    raise NeedsLockError
                decide(work, self._worker, locked=True)
                start_steps(work, self._worker)
                write_rows([work.transition], self._connection.execute_or_none)
        except Exception:
            self._settlement.fall_back(work)
            if not self._connection.usable:
                raise
            return
        self._settlement.settle(work)


def _is_same(locked: Transition, decided: Transition) -> bool:
    run = locked.run
    return run.last_sequence == decided.expected_sequence and run.last_event_at == decided.expected_at
