"""The states of a run, a step, a wait and a hook, and the moves between them.

::

    run    pending ──▶ running ──▶ completed | failed | cancelled      (failed ──▶ running by retry_run)
    step   pending ──▶ running ──▶ completed | failed | cancelled      (running ──▶ pending: retry, lost worker)
    wait   waiting ──▶ completed | cancelled                           (cancelled ──▶ waiting by retry_run)
    hook   active  ──▶ disposed                                         (conflict: never active)
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


class HookStatus(StrEnum):
    """No column holds it: a hook's row is active until ``disposed_at`` is set, and one in conflict has no row."""

    ACTIVE = "active"
    CONFLICT = "conflict"
    DISPOSED = "disposed"


ACTIVE_RUN: frozenset[str] = frozenset({RunStatus.PENDING, RunStatus.RUNNING})
TERMINAL_RUN: frozenset[str] = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
ACTIVE_STEP: frozenset[str] = frozenset({StepStatus.PENDING, StepStatus.RUNNING})
TERMINAL_STEP: frozenset[str] = frozenset({StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.CANCELLED})
