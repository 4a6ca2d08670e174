"""What a locked run and its open entities look like in memory. Plain mutable rows: verbs change them, ``write`` stores them."""

from __future__ import annotations

from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import Any

from ..eventlog.statuses import TERMINAL_RUN
from ..serialization import Encoded

RUN_COLUMNS = (
    "id",
    "workflow",
    "queue",
    "priority",
    "status",
    "output",
    "error",
    "error_code",
    "attributes",
    "parent_id",
    "parent_correlation_id",
    "detached",
    "code_version",
    "created_at",
    "started_at",
    "completed_at",
    "deadline_at",
    "cancel_requested_at",
    "timed_out_at",
    "wake_at",
    "expires_at",
    "last_sequence",
    "last_event_at",
    "life",
    "blocked_reason",
    "blocked_until",
    "blocked_count",
    "blocked_version",
)

STEP_COLUMNS = (
    "id",
    "run_id",
    "correlation_id",
    "name",
    "status",
    "input",
    "output",
    "error",
    "attempt",
    "failures",
    "losses",
    "queue",
    "priority",
    "available_at",
    "worker_id",
    "created_at",
    "started_at",
    "completed_at",
)

WAIT_COLUMNS = ("id", "run_id", "correlation_id", "status", "due_at", "created_at", "completed_at")
HOOK_COLUMNS = ("id", "run_id", "correlation_id", "token", "is_webhook", "created_at", "disposed_at")


class RunRow:
    """A run as read under its lock. ``output`` and ``error`` are None until the run ends in this transaction."""

    __slots__ = RUN_COLUMNS

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

    def __init__(self, *values: Any) -> None:
        for name, value in zip(RUN_COLUMNS, values, strict=True):
            setattr(self, name, value)

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL_RUN


class StepRow:
    __slots__ = STEP_COLUMNS

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

    def __init__(self, *values: Any) -> None:
        (
            self.id,
            self.run_id,
            self.correlation_id,
            self.name,
            self.status,
            self.input,
            self.output,
            self.error,
            self.attempt,
            self.failures,
            self.losses,
            self.queue,
            self.priority,
            self.available_at,
            self.worker_id,
            self.created_at,
            self.started_at,
            self.completed_at,
        ) = values


class WaitRow:
    __slots__ = WAIT_COLUMNS

    id: str
    run_id: str
    correlation_id: str
    status: str
    due_at: datetime
    created_at: datetime
    completed_at: datetime | None

    def __init__(self, *values: Any) -> None:
        for name, value in zip(WAIT_COLUMNS, values, strict=True):
            setattr(self, name, value)


class HookRow:
    __slots__ = HOOK_COLUMNS

    id: str
    run_id: str
    correlation_id: str
    token: str
    is_webhook: bool
    created_at: datetime
    disposed_at: datetime | None

    def __init__(self, *values: Any) -> None:
        for name, value in zip(HOOK_COLUMNS, values, strict=True):
            setattr(self, name, value)


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
