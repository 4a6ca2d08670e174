"""Which attempts run now, which wait for their turn, and which have taken too long."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator

from ..attempts.attempts import AlreadyRecorded, Attempt, Outcome, Released
from ..attempts.pipeline import timed_out
from ..attempts.slots import Slots
from .event_loop import EventLoopExecutor
from .protocol import Executor, Turns
from .threads import ThreadExecutor

logger = logging.getLogger("django_workflows.worker")

#: seconds after which an attempt that waits for its turn is released, for any worker to take
SLOT_WAIT_LIMIT = 0.25


class Dispatcher:
    """Begins attempts, as many at a time as ``slots.concurrency`` says; the others wait.

    To the turn it is the :class:`~.protocol.Executor`, to the executors it is :class:`~.protocol.Ends`.
    """

    def __init__(self, slots: Slots, turns: Turns) -> None:
        self._slots = slots
        self._turns = turns
        self._threads = ThreadExecutor(self)
        self._event_loop = EventLoopExecutor(self)
        self._lock = threading.Lock()
        self._running: dict[Attempt, None] = {}
        self._waiting: deque[Attempt] = deque()

    # --- beginning ---------------------------------------------------------------------------------------------------

    def begin(self, attempt: Attempt) -> None:
        attempt.taken_at = time.monotonic()
        with self._lock:
            if len(self._running) >= self._slots.concurrency:
                self._waiting.append(attempt)
                return
            self._running[attempt] = None
        self._launch(attempt)

    def _launch(self, attempt: Attempt) -> None:
        if attempt.definition.timeout is not None:
            attempt.deadline = time.monotonic() + attempt.definition.timeout.total_seconds()
        self._executor_of(attempt).begin(attempt)

    def _executor_of(self, attempt: Attempt) -> Executor:
        return self._event_loop if attempt.definition.is_async else self._threads

    def _launch_waiting(self) -> None:
        """Launch what has waited longest; pass over what is not wanted any more."""
        while True:
            with self._lock:
                if not self._waiting or len(self._running) >= self._slots.concurrency:
                    return None
                attempt = self._waiting.popleft()
                if not attempt.cancelled:
                    self._running[attempt] = None
            if not attempt.cancelled:
                return self._launch(attempt)
            self._end_waiting(attempt, AlreadyRecorded(attempt))

    # --- ends --------------------------------------------------------------------------------------------------------

    def end(self, outcome: Outcome, *, take_turn: bool) -> None:
        attempt = outcome.attempt
        with self._lock:
            self._running.pop(attempt, None)
            late, attempt.reported = attempt.reported, True
        self._slots.note(time.monotonic() - attempt.began_at)
        self._slots.free_slots()
        if not late:
            self._turns.report(outcome)
        self._launch_waiting()
        try:
            self._turns.try_turn() if take_turn else self._turns.wake()
        except Exception:
            logger.debug("The turn after step %s failed; the main loop takes it.", attempt.step.id, exc_info=True)
            self._turns.wake()

    def _end_waiting(self, attempt: Attempt, outcome: Outcome) -> None:
        """An attempt that has waited will not run."""
        attempt.reported = True
        self._slots.free_slots()
        self._turns.report(outcome)

    def cancel(self, attempt: Attempt) -> None:
        attempt.cancelled = True
        self._executor_of(attempt).cancel(attempt)

    def release_all(self) -> None:
        """The worker stops: release the steps of what waits and of what still runs, and cancel the latter."""
        with self._lock:
            waiting, self._waiting = list(self._waiting), deque()
        for attempt in waiting:
            self._end_waiting(attempt, Released(attempt))
        for attempt in self.running:
            with self._lock:
                late, attempt.reported = attempt.reported, True
            if not late:
                self._turns.report(Released(attempt))
            self.cancel(attempt)

    @property
    def running(self) -> list[Attempt]:
        """Attempts that have been begun and have not ended, also those that wait for their turn."""
        with self._lock:
            return [*self._running, *self._waiting]

    # --- deadlines ---------------------------------------------------------------------------------------------------

    def check_deadlines(self) -> None:
        """Report ``def`` attempts that are past their deadline, and release what has waited too long.

        Threads cannot be interrupted and keep their slots until they return. The loop ends its own attempts in time.
        """
        now = time.monotonic()
        for attempt in self._take_overdue(now):
            attempt.cancelled = True
            self._turns.report(timed_out(attempt))
        for attempt in self._take_starved(now):
            self._slots.note(now - attempt.taken_at)
            self._end_waiting(attempt, Released(attempt))

    def next_deadline(self) -> float | None:
        """Seconds until :meth:`check_deadlines` has something to do."""
        with self._lock:
            moments = [deadline for _, deadline in self._deadlines()]
            if self._waiting:
                moments.append(self._waiting[0].taken_at + SLOT_WAIT_LIMIT)
        return None if not moments else max(0.0, min(moments) - time.monotonic())

    def _take_overdue(self, now: float) -> list[Attempt]:
        with self._lock:
            overdue = [attempt for attempt, deadline in self._deadlines() if deadline <= now]
            for attempt in overdue:
                attempt.reported = True
        return overdue

    def _take_starved(self, now: float) -> list[Attempt]:
        starved = []
        with self._lock:
            while self._waiting and now - self._waiting[0].taken_at >= SLOT_WAIT_LIMIT:
                starved.append(self._waiting.popleft())
        return starved

    def _deadlines(self) -> Iterator[tuple[Attempt, float]]:
        for attempt in self._running:
            if attempt.deadline is not None and not attempt.reported and not attempt.definition.is_async:
                yield attempt, attempt.deadline
