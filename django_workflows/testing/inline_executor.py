"""Attempts in the calling thread, one after the other, in the order in which they were started."""

from __future__ import annotations

import contextvars
import time
from datetime import datetime, timedelta

from asgiref.sync import async_to_sync

from ..store import database
from ..workers.attempts.attempts import AlreadyRecorded, Attempt, Outcome
from ..workers.attempts.pipeline import arun_attempt, run_attempt, timed_out
from ..workers.attempts.slots import Slots
from ..workers.executors.protocol import Turns
from . import mocks
from .transactions import autocommit, commits, kept_open


class InlineExecutor:
    """``waiting``: attempts that have begun, each with the time at which a mocked step has taken its time."""

    def __init__(self, turns: Turns, slots: Slots) -> None:
        self._turns, self._slots = turns, slots
        self.waiting: list[tuple[datetime, Attempt]] = []
        #: how the last attempt went
        self.last: Outcome | None = None

    def begin(self, attempt: Attempt) -> None:
        attempt.inline = True  # its chunks go through this thread's connection
        self.waiting.append((database.now() + self._busy_for(attempt), attempt))

    def cancel(self, attempt: Attempt) -> None:
        attempt.cancelled = True

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
        self.last = self._run(attempt)
        self._slots.free_slots()
        self._turns.report(self.last)

    def _run(self, attempt: Attempt) -> Outcome:
        takes, limit = mocks.takes(attempt.definition), attempt.definition.timeout
        if attempt.cancelled:  # a mocked step that was taking its time when its outcome was not wanted any more
            return AlreadyRecorded(attempt)
        if limit is not None and takes > limit:
            return timed_out(attempt)
        deadline = None if limit is None else time.monotonic() + limit.total_seconds()
        with kept_open(), commits(), autocommit():
            if attempt.definition.is_async:
                # sync_to_async(), and with it the ORM, comes back to this thread and so to the test's connection
                return contextvars.Context().run(async_to_sync(arun_attempt), attempt)
            outcome = run_attempt(attempt)
        late = deadline is not None and time.monotonic() >= deadline
        return timed_out(attempt) if late and not isinstance(outcome, AlreadyRecorded) else outcome
