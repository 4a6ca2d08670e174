"""Suspended bodies kept in memory, each with the entities of its run that it fits."""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from datetime import datetime

from ...engine import Execution
from ...eventlog.commands import Command
from ...store.rows import OpenEntities
from ..link.watchdog import Watchdog

#: turns that a run goes through its lock after another process has got in between
_CONTENDED_TURNS = 16


class Body:
    """A live execution. It may be used while the log still ends where ``entities.run`` says."""

    __slots__ = ("contended", "entities", "execution", "timer", "undecided")

    def __init__(self, execution: Execution, entities: OpenEntities) -> None:
        self.execution = execution
        self.entities = entities
        #: commands that the log does not hold yet, because a turn writes a bounded number
        self.undecided: deque[Command] = deque()
        #: turns that it still goes through its run's lock, since other processes write to the run as well
        self.contended = 0
        #: the time for which the run stands among the timers
        self.timer: datetime | None = None


class Bodies:
    """An LRU of bodies by run id, and the timers of those that sleep."""

    def __init__(self, size: int, watchdog: Watchdog) -> None:
        self._size = size
        self._watchdog = watchdog
        self._bodies: OrderedDict[str, Body] = OrderedDict()
        self._timers: list[tuple[datetime, str]] = []
        self._contended: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._bodies)

    def get(self, run_id: str) -> Body | None:
        """The cached body of a run, which counts as used now."""
        body = self._bodies.get(run_id)
        if body is not None:
            self._bodies.move_to_end(run_id)
        return body

    def put(self, run_id: str, body: Body) -> None:
        """Keep a body whose transition is committed."""
        body.contended = max(body.contended - 1, self._contended.pop(run_id, 0))
        self._bodies[run_id] = body
        self._bodies.move_to_end(run_id)
        wake_at = body.entities.run.wake_at
        if wake_at is not None and wake_at != body.timer:
            heapq.heappush(self._timers, (wake_at, run_id))
            body.timer = wake_at
        while len(self._bodies) > self._size:
            _, oldest = self._bodies.popitem(last=False)
            self.close(oldest)

    def close(self, body: Body) -> None:
        """Discard a body. Its ``finally`` blocks run, so that it may hang: the supervisor must know in which run."""
        self._watchdog.mark(body.entities.run.id)
        try:
            body.execution.close()
        finally:
            self._watchdog.clear()

    def drop(self, run_id: str, *, contended: bool = False) -> None:
        """Forget a body: its run has ended, its commit failed, or its log has moved on without it."""
        body = self._bodies.pop(run_id, None)
        if body is not None:
            self.close(body)
        if contended:
            self._contended[run_id] = _CONTENDED_TURNS
            while len(self._contended) > 1000:
                self._contended.popitem(last=False)

    def clear(self) -> None:
        """Forget all bodies: what they stand on may not have been committed, or they are not ours any more."""
        for run_id in list(self._bodies):
            self.drop(run_id)
        self._timers.clear()

    def due(self, now: datetime, limit: int) -> list[str]:
        """Up to ``limit`` runs whose cached bodies are due by time alone."""
        found: list[str] = []
        while self._timers and self._timers[0][0] <= now and len(found) < limit:
            wake_at, run_id = heapq.heappop(self._timers)
            body = self._bodies.get(run_id)
            if body is None or body.timer != wake_at:
                continue
            body.timer = None
            if body.entities.run.wake_at == wake_at and run_id not in found:
                found.append(run_id)
        return found

    def next_due(self) -> datetime | None:
        """When the next of them is due; None: none sleeps."""
        while self._timers:
            wake_at, run_id = self._timers[0]
            body = self._bodies.get(run_id)
            if body is not None and body.entities.run.wake_at == wake_at:
                return wake_at
            heapq.heappop(self._timers)
            if body is not None and body.timer == wake_at:
                body.timer = None
        return None
