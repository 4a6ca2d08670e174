"""Running attempts: ``def`` steps on a pool of threads, ``async def`` steps on one event loop.

Each attempt is a pipeline: load (decode the arguments) → run (the only line of user code) → classify → report.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, close_old_connections, transaction

from ...authoring import runtime as context
from ...exceptions import FatalError, RetryableError, SerializationError
from ...serialization import dumps, encode_error, loads
from ...services import steps
from ...store import database, locking
from ...store.limits import require_size
from ...store.write import write
from ...values import clock, durations
from .attempts import AlreadyRecorded, Attempt, Completed, Failed, HandedBack, Outcome
from .chunk_buffer import ChunksNotSavedError
from .slots import Slots
from .step_runtime import StepRuntime

logger = logging.getLogger(__name__)

Report = Callable[[Outcome], None]

#: seconds after which an attempt that waits for its turn is given back, for any worker to take
SLOT_WAIT_LIMIT = 0.25
#: seconds before a step is tried again whose result could not be saved: the database is away, or full
NOT_SAVED_PAUSE = 0.5


class _LeaseLostError(Exception):
    """Somebody else has the step now; what this attempt did in its transaction is rolled back."""


def run_attempt(attempt: Attempt) -> Outcome:
    """Run one attempt of a ``def`` step in the calling thread."""
    runtime = StepRuntime(attempt)
    try:
        payload = loads(attempt.step.input)
        close_old_connections()
        if attempt.definition.atomic:
            return _run_atomic(attempt, runtime, payload)
        value = _enter(runtime, attempt.definition.fn, payload)
        output = dumps(value)
        runtime.flush()
        return Completed(attempt, output)
    except ChunksNotSavedError:
        return HandedBack(attempt, NOT_SAVED_PAUSE)
    except BaseException as error:  # noqa: BLE001 - SystemExit too: a step's end is never its worker's
        if not attempt.definition.atomic:  # what an atomic step wrote goes with its transaction
            with suppress(Exception):
                runtime.flush()
        return classify(attempt, error)
    finally:
        close_old_connections()


def _enter(runtime: StepRuntime, fn: Callable[..., Any], payload: dict[str, Any]) -> Any:
    """The only line of user code, in a fresh context."""

    def call() -> Any:
        context.RUNTIME.set(runtime)
        return fn(*payload["args"], **payload["kwargs"])

    return contextvars.Context().run(call)


def _run_atomic(attempt: Attempt, runtime: StepRuntime, payload: dict[str, Any]) -> Outcome:
    """The step's ORM writes and its ``step_completed`` in one transaction. The lease is checked under the run's lock."""
    returned = False
    using = attempt.definition.using or database.alias()
    if using != database.alias():
        raise FatalError(
            f"{attempt.definition.name} is atomic on {using!r}, but the workflow tables are in {database.alias()!r}: "
            "two databases cannot commit as one."
        )
    try:
        with transaction.atomic(using=using):
            value = _enter(runtime, attempt.definition.fn, payload)
            output = require_size(dumps(value))
            returned = True
            runtime.flush()
            locked = locking.lock_run(attempt.run_id)
            step = locking.read_step(locked, attempt.step.id)
            if step is None or not steps.holds_lease(step, attempt.worker_id, attempt.number):
                raise _LeaseLostError
            steps.complete_step(locked, step, output)
            write([locked])
    except _LeaseLostError:
        return AlreadyRecorded(attempt)
    except (OperationalError, InterfaceError) as error:
        # Nothing of an atomic step is left when its connection breaks, wherever that happens: no fault of the step.
        # Other errors are its own, also at the commit, where deferred constraints are checked.
        if not returned and not database.is_connection_lost(error):
            raise
        logger.warning("The result of step %s could not be saved and it is tried again: %s", attempt.step.id, error)
        return HandedBack(attempt, NOT_SAVED_PAUSE)
    return AlreadyRecorded(attempt)


def classify(attempt: Attempt, error: BaseException) -> Outcome:
    """What an exception out of a step means for it. Never raises."""
    if attempt.cancelled and isinstance(error, asyncio.CancelledError):
        return AlreadyRecorded(attempt)
    encoded = encode_error(error)
    if isinstance(error, FatalError | SerializationError):
        return Failed(attempt, encoded, fatal=True)
    if isinstance(error, RetryableError) and error.retry_after is not None:
        try:
            return Failed(attempt, encoded, retry_after=durations.until(error.retry_after, clock.now()) - clock.now())
        except (TypeError, ValueError) as invalid:
            return Failed(attempt, encode_error(invalid), fatal=True)
    return Failed(attempt, encoded)


class Executor:
    """Runs attempts, as many at a time as ``slots.concurrency`` says; the others wait their turn.

    ``report`` takes outcomes; a slot is given back when it is really free again.
    """

    def __init__(self, report: Report, slots: Slots, after: Callable[[], None], ring: Callable[[], None]) -> None:
        self._report = report
        self._slots = slots
        #: called in a step's thread when its outcome has been reported: it may take the turn
        self._after = after
        #: wakes the main loop, which takes the turn for async steps: their event loop must not be kept busy with it
        self._ring = ring
        self._queue: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._local = threading.local()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = 0
        self._lock = threading.Lock()
        #: attempts in hand that have not ended: those that run, and those that wait
        self._running: dict[Attempt, None] = {}
        self._waiting: deque[Attempt] = deque()
        self._refreshed_at = 0.0

    # --- beginning ---------------------------------------------------------------------------------------------------

    def begin(self, attempt: Attempt) -> None:
        """Run the attempt, now or when there is room: in the calling thread when that is a step's with nothing to do."""
        attempt.taken = time.monotonic()
        with self._lock:
            if len(self._running) >= self._slots.concurrency:
                self._waiting.append(attempt)
                return
            self._running[attempt] = None
        self._launch(attempt)

    def _launch(self, attempt: Attempt) -> None:
        if attempt.definition.timeout is not None:
            attempt.deadline = time.monotonic() + attempt.definition.timeout.total_seconds()
        if attempt.definition.is_async:
            self._begin_async(attempt)
        elif getattr(self._local, "free", False):
            self._local.free = False
            self._local.next = attempt
        else:
            if not self._idle.acquire(blocking=False):
                self._grow()
            self._queue.put(attempt)

    def _grow(self) -> None:
        with self._lock:
            self._threads += 1
            name = f"workflows-step-{self._threads}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while (attempt := self._queue.get()) is not None:
            following: Attempt | None = attempt
            while following is not None:
                following = self._run(following)
            self._idle.release()

    def _run(self, attempt: Attempt) -> Attempt | None:
        """Run one attempt and, if that frees the way, say what this thread should run next."""
        attempt.began = time.monotonic()
        outcome = run_attempt(attempt)
        self._local.next, self._local.free = None, True
        self._end(outcome)
        try:
            self._after()
        except Exception:
            logger.debug("The turn after step %s failed; the main loop takes it.", attempt.step.id, exc_info=True)
            self._ring()
        self._local.free = False
        following: Attempt | None = self._local.next
        return following

    def _end(self, outcome: Outcome) -> None:
        attempt = outcome.attempt
        with self._lock:
            self._running.pop(attempt, None)
            late, attempt.reported = attempt.reported, True
        self._slots.note(time.monotonic() - attempt.began)
        self._slots.free_slot()
        if not late:
            self._report(outcome)
        self._launch_waiting()

    def _launch_waiting(self) -> None:
        """Run what has waited longest; what nobody wants any more is passed over."""
        while True:
            with self._lock:
                if not self._waiting or len(self._running) >= self._slots.concurrency:
                    return None
                attempt = self._waiting.popleft()
                if not attempt.cancelled:
                    self._running[attempt] = None
            if not attempt.cancelled:
                return self._launch(attempt)
            self._give_up(attempt, AlreadyRecorded(attempt))

    def _give_up(self, attempt: Attempt, outcome: Outcome) -> None:
        """An attempt that has waited, and will not run."""
        attempt.reported = True
        self._slots.free_slot()
        self._report(outcome)

    # --- async steps -------------------------------------------------------------------------------------------------

    def _begin_async(self, attempt: Attempt) -> None:
        loop = self._start_loop()
        loop.call_soon_threadsafe(self._create_task, attempt)

    def _start_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="workflows-async", daemon=True).start()
            return self._loop

    def _create_task(self, attempt: Attempt) -> None:
        assert self._loop is not None
        loop = self._loop
        task = loop.create_task(self._run_async(attempt), context=contextvars.Context())

        def interrupt() -> None:
            loop.call_soon_threadsafe(task.cancel)

        attempt.interrupt = interrupt
        if attempt.cancelled:
            task.cancel()

    async def _run_async(self, attempt: Attempt) -> None:
        outcome: Outcome
        attempt.began = time.monotonic()
        runtime = StepRuntime(attempt)
        try:
            await self._refresh_connections()
            payload = loads(attempt.step.input)
            context.RUNTIME.set(runtime)
            timeout = attempt.definition.timeout
            async with asyncio.timeout(None if timeout is None else timeout.total_seconds()):
                value = await attempt.definition.fn(*payload["args"], **payload["kwargs"])
            outcome = Completed(attempt, dumps(value))
            await runtime.aflush()
        except ChunksNotSavedError:
            outcome = HandedBack(attempt, NOT_SAVED_PAUSE)
        except BaseException as error:  # noqa: BLE001 - likewise
            with suppress(Exception):
                await runtime.aflush()
            outcome = classify(attempt, error)
            self._refreshed_at = 0.0  # it may have been a connection that the server has closed
        self._end(outcome)
        self._ring()

    async def _refresh_connections(self) -> None:
        """Close connections that are too old or broken on the thread where the ORM of async code runs; at most once a second."""
        if time.monotonic() - self._refreshed_at >= 1.0:
            self._refreshed_at = time.monotonic()
            await sync_to_async(close_old_connections)()

    # --- deadlines and the end ---------------------------------------------------------------------------------------

    def look_at_the_clock(self) -> None:
        """Report ``def`` attempts past their deadline, and give back what has waited too long.

        Threads cannot be interrupted and keep their slots.
        """
        now = time.monotonic()
        for attempt in self._take_overdue(now):
            attempt.cancelled = True
            timeout = attempt.definition.timeout
            error = TimeoutError(f"The step did not return within {timeout}.")
            self._report(Failed(attempt, encode_error(error)))
        for attempt in self._take_starved(now):
            self._slots.note(now - attempt.taken)
            self._give_up(attempt, HandedBack(attempt))

    def _take_overdue(self, now: float) -> list[Attempt]:
        with self._lock:
            late = [attempt for attempt in self._with_deadline() if attempt.deadline <= now]  # type: ignore[operator]
            for attempt in late:
                attempt.reported = True
        return late

    def _take_starved(self, now: float) -> list[Attempt]:
        starved = []
        with self._lock:
            while self._waiting and now - self._waiting[0].taken >= SLOT_WAIT_LIMIT:
                starved.append(self._waiting.popleft())
        return starved

    def _with_deadline(self) -> Iterator[Attempt]:
        for attempt in self._running:
            if attempt.deadline is not None and not attempt.reported and not attempt.definition.is_async:
                yield attempt

    def next_deadline(self) -> float | None:
        """Seconds until the next look at the clock."""
        with self._lock:
            moments = [attempt.deadline or 0.0 for attempt in self._with_deadline()]
            if self._waiting:
                moments.append(self._waiting[0].taken + SLOT_WAIT_LIMIT)
        return None if not moments else max(0.0, min(moments) - time.monotonic())

    @property
    def running(self) -> list[Attempt]:
        """Attempts in hand, also those that wait for their turn."""
        with self._lock:
            return [*self._running, *self._waiting]

    def hand_back(self) -> None:
        """The worker stops: give back what has not ended, and tell it so."""
        with self._lock:
            waiting, self._waiting = list(self._waiting), deque()
        for attempt in waiting:
            self._give_up(attempt, HandedBack(attempt))
        for attempt in self.running:
            with self._lock:
                late, attempt.reported = attempt.reported, True
            if not late:
                self._report(HandedBack(attempt))
            attempt.cancel()
