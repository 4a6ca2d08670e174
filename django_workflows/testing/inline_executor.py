"""Attempts in the calling thread, one after the other, in the order in which they were started."""

from __future__ import annotations

import contextvars
import time
from datetime import datetime, timedelta

from asgiref.sync import async_to_sync

from ..serialization import encode_error
from ..store import database
from ..workers.attempts.attempts import AlreadyRecorded, Attempt, Failed, Outcome
from ..workers.attempts.executor import Executor, run_attempt
from ..workers.turn.advancer import Advancer
from . import mocks
from .transactions import autocommit, commits, kept_open


def _nothing() -> None:
    pass


class InlineExecutor(Executor):
    """``waiting``: attempts that have begun, each with the time at which a mocked step has taken its time."""

    def __init__(self, advancer: Advancer) -> None:
        super().__init__(advancer.report, advancer.slots, _nothing, _nothing)
        self.waiting: list[tuple[datetime, Attempt]] = []
        #: how the last attempt went
        self.last: Outcome | None = None

    def begin(self, attempt: Attempt) -> None:
        attempt.inline = True  # its chunks go through this thread's connection
        self.waiting.append((database.now() + self._busy_for(attempt), attempt))

    @staticmethod
    def _busy_for(attempt: Attempt) -> timedelta:
        takes = mocks.takes(attempt.definition)
        limit = attempt.definition.timeout
        return takes if limit is None else min(takes, limit)

    def next_due(self) -> datetime | None:
        return min((moment for moment, _ in self.waiting), default=None)

    def next_ready(self, now: datetime) -> Attempt | None:
        """Take the first attempt that has nothing more to wait for."""
        for place, (moment, attempt) in enumerate(self.waiting):
            if moment <= now or attempt.cancelled:
                del self.waiting[place]
                return attempt
        return None

    def run(self, attempt: Attempt) -> None:
        """Run the attempt and report how it went. ``def`` and ``async def`` steps see the test's transaction."""
        definition = attempt.definition
        with self._lock:
            self._running[attempt] = None
        if attempt.cancelled:  # a mocked step that was taking its time when nobody wanted it any more
            self._end(AlreadyRecorded(attempt))
            return
        takes, limit = mocks.takes(definition), definition.timeout
        if limit is not None and takes > limit:
            self._end(self._timed_out(attempt, limit))
            return
        if limit is not None:
            attempt.deadline = time.monotonic() + limit.total_seconds()
        with kept_open(), commits(), autocommit():
            if definition.is_async:
                # sync_to_async(), and with it the ORM, comes back to this thread and so to the test's connection
                contextvars.Context().run(async_to_sync(self._run_async), attempt)
            else:
                outcome = run_attempt(attempt)
                self.look_at_the_clock()
                self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        self.last = outcome
        super()._end(outcome)

    @staticmethod
    def _timed_out(attempt: Attempt, limit: timedelta) -> Outcome:
        return Failed(attempt, encode_error(TimeoutError(f"The step did not return within {limit}.")))
