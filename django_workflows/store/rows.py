"""What a locked run and its open entities look like in memory. Plain mutable rows: verbs change them, ``write`` stores them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import Any

from ..eventlog.statuses import TERMINAL_RUN
from ..serialization import Encoded


@dataclass(slots=True, eq=False)
class RunRow:
    """A run as read under its lock. ``output`` and ``error`` are None until the run ends in this transaction."""

    id: str
    workflow: str
    queue: str
    priority: int
    status: str
    output: Encoded | None
    error: Encoded | None
    error_code: str
    attributes: dict[str, str]
    parent_id: str | None
    parent_correlation_id: str
    detached: bool
    code_version: str
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    deadline_at: datetime | None
    cancel_requested_at: datetime | None
    timed_out_at: datetime | None
    wake_at: datetime | None
    expires_at: datetime | None
    last_sequence: int
    last_event_at: datetime
    life: int
    blocked_reason: str
    blocked_until: datetime | None
    blocked_count: int
    blocked_version: str
    pauses: dict[str, list[Any]] | None
    crashes: int

    @property
    def ended(self) -> bool:
        """Whether the run is completed, failed or cancelled."""
        return self.status in TERMINAL_RUN


@dataclass(slots=True, eq=False)
class StepRow:
    """A step of the run. ``worker_id`` and ``attempt``, from 1, are the lease of the attempt that is running."""

    id: str
    run_id: str
    correlation_id: str
    name: str
    status: str
    input: Encoded
    output: Encoded | None
    error: Encoded | None
    attempt: int
    failures: int
    losses: int
    queue: str
    priority: int
    available_at: datetime
    worker_id: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


@dataclass(slots=True, eq=False)
class WaitRow:
    """A wait of the run, until ``due_at`` by the database's clock."""

    id: str
    run_id: str
    correlation_id: str
    status: str
    due_at: datetime
    created_at: datetime
    completed_at: datetime | None


@dataclass(slots=True, eq=False)
class HookRow:
    """A hook of the run; active until ``disposed_at``."""

    id: str
    run_id: str
    correlation_id: str
    token: str
    is_webhook: bool
    created_at: datetime
    disposed_at: datetime | None


#: columns of a run that its creation writes, and nothing after it
RUN_ORIGIN = ("id", "workflow", "queue", "priority", "parent_id", "parent_correlation_id", "detached", "created_at")
#: what every transition changes
RUN_HEAD = ("last_sequence", "last_event_at", "wake_at")
#: columns of a step, of a wait, that their creation writes, and nothing after it
STEP_ORIGIN = ("id", "run_id", "correlation_id", "name", "input", "queue", "priority", "created_at")
WAIT_ORIGIN = ("id", "run_id", "correlation_id", "due_at", "created_at")
#: columns of a step that are NULL before an attempt of it has ended
STEP_END = ("output", "error", "completed_at")


class OpenEntities:
    """A run with its open entities by correlation id: pending and running steps, waiting waits, active hooks.

    It holds as long as the log has not grown behind its back, which ``run.last_sequence`` and ``run.last_event_at`` show.
    """

    __slots__ = ("_due", "hooks", "run", "steps", "waits")

    def __init__(self, run: RunRow) -> None:
        self.run = run
        self.steps: dict[str, StepRow] = {}
        self.waits: dict[str, WaitRow] = {}
        self.hooks: dict[str, HookRow] = {}
        #: a heap over ``waits``; entries of closed waits are dropped when they come up
        self._due: list[tuple[datetime, str]] = []

    def add_wait(self, wait: WaitRow) -> None:
        """Put an open wait where :meth:`first_wait` and :meth:`next_due` find it."""
        self.waits[wait.correlation_id] = wait
        heappush(self._due, (wait.due_at, wait.correlation_id))

    def first_wait(self) -> WaitRow | None:
        """The open wait that is due first; among equals the one with the lowest correlation id."""
        while self._due:
            wait = self.waits.get(self._due[0][1])
            if wait is not None:
                return wait
            heappop(self._due)
        return None

    def next_due(self, cancel_grace: timedelta) -> datetime | None:
        """When time alone makes the run due: its earliest wait, its deadline, or the end of its cleanup."""
        run = self.run
        first = self.first_wait()
        times = [] if first is None else [first.due_at]
        ending = run.cancel_requested_at or run.timed_out_at
        if ending is not None:
            times.append(ending + cancel_grace)
        elif run.deadline_at is not None:
            times.append(run.deadline_at)
        return min(times, default=None)
