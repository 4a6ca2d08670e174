"""``async def`` steps: tasks of one asyncio loop, on a thread of its own."""

from __future__ import annotations

import asyncio
import contextvars
import threading

from ..attempts.attempts import AlreadyRecorded, Attempt
from ..attempts.pipeline import arun_attempt
from .protocol import Ends


class EventLoopExecutor:
    """The loop's thread is started with the first attempt. It takes no turn: other tasks would wait meanwhile."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        #: of the loop's thread alone
        self._tasks: dict[Attempt, asyncio.Task[None]] = {}

    def begin(self, attempt: Attempt) -> None:
        self._running_loop().call_soon_threadsafe(self._create_task, attempt)

    def cancel(self, attempt: Attempt) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._interrupt, attempt)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="workflows-async", daemon=True).start()
            return self._loop

    def _create_task(self, attempt: Attempt) -> None:
        if attempt.cancelled:  # a task that is cancelled before its first step never runs, and would never end
            self._ends.end(AlreadyRecorded(attempt), take_turn=False)
            return
        assert self._loop is not None
        self._tasks[attempt] = self._loop.create_task(self._run(attempt), context=contextvars.Context())

    def _interrupt(self, attempt: Attempt) -> None:
        if (task := self._tasks.get(attempt)) is not None:
            task.cancel()

    async def _run(self, attempt: Attempt) -> None:
        outcome = await arun_attempt(attempt)
        del self._tasks[attempt]
        self._ends.end(outcome, take_turn=False)
