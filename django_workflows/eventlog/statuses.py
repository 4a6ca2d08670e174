"""The states of a run, a step and a wait, and the moves between them.

::

    run    pending ──▶ running ──▶ completed | failed | cancelled      (failed ──▶ running by retry_run)
    step   pending ──▶ running ──▶ completed | failed | cancelled      (running ──▶ pending: retry, lost worker)
    wait   waiting ──▶ completed | cancelled
"""

from __future__ import annotations

from enum import StrEnum


class RunStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class WaitStatus(StrEnum):
    WAITING = "waiting"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


ACTIVE_RUN: frozenset[str] = frozenset({RunStatus.PENDING, RunStatus.RUNNING})
TERMINAL_RUN: frozenset[str] = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
ACTIVE_STEP: frozenset[str] = frozenset({StepStatus.PENDING, StepStatus.RUNNING})
TERMINAL_STEP: frozenset[str] = frozenset({StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.CANCELLED})

RUN_MOVES: dict[str, frozenset[str]] = {
    RunStatus.PENDING: frozenset({RunStatus.RUNNING, RunStatus.CANCELLED, RunStatus.FAILED, RunStatus.COMPLETED}),
    RunStatus.RUNNING: TERMINAL_RUN,
    RunStatus.COMPLETED: frozenset(),
    RunStatus.FAILED: frozenset({RunStatus.RUNNING}),
    RunStatus.CANCELLED: frozenset(),
}
STEP_MOVES: dict[str, frozenset[str]] = {
    StepStatus.PENDING: frozenset({StepStatus.RUNNING, StepStatus.CANCELLED, StepStatus.FAILED}),
    StepStatus.RUNNING: frozenset({StepStatus.PENDING}) | TERMINAL_STEP,
    StepStatus.COMPLETED: frozenset(),
    StepStatus.FAILED: frozenset({StepStatus.PENDING}),  # only by retry_run, in a new life of the run
    StepStatus.CANCELLED: frozenset({StepStatus.PENDING}),  # likewise
}
WAIT_MOVES: dict[str, frozenset[str]] = {
    WaitStatus.WAITING: frozenset({WaitStatus.COMPLETED, WaitStatus.CANCELLED}),
    WaitStatus.COMPLETED: frozenset(),
    WaitStatus.CANCELLED: frozenset({WaitStatus.WAITING}),  # only by retry_run
}
