"""What a log says about the entities of its run: the fold that the tables hold, made anew from the events."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..serialization import Encoded, loads
from ..values.attributes import merge_attributes
from .events import Record
from .lives import effective
from .statuses import StepStatus, WaitStatus


@dataclass(slots=True)
class FoldedStep:
    """``failures`` and ``losses`` as far as they count against the budgets of the step's last start."""

    created: Record
    status: str = StepStatus.PENDING
    attempt: int = 0
    failures: int = 0
    losses: int = 0
    worker: str | None = None
    available_at: datetime | None = None
    started_at: datetime | None = None
    #: how it ended, and the event that holds its last error
    ended: Record | None = None
    failed: Record | None = None


@dataclass(slots=True)
class FoldedWait:
    created: Record
    status: str = WaitStatus.WAITING
    completed_at: datetime | None = None


@dataclass(slots=True)
class FoldedHook:
    created: Record
    disposed_at: datetime | None = None


@dataclass(slots=True)
class FoldedChild:
    started: Record
    ended: Record | None = None


@dataclass(slots=True)
class Fold:
    """Entities by correlation id, in the order of their creation; the run's attributes; how the log ends, if so."""

    steps: dict[str, FoldedStep] = field(default_factory=dict)
    waits: dict[str, FoldedWait] = field(default_factory=dict)
    hooks: dict[str, FoldedHook] = field(default_factory=dict)
    children: dict[str, FoldedChild] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    started: Record | None = None
    terminal: Record | None = None
    #: entities that a retry has left out; they stay in the tables, ended as they were or cut off at ``cut_off_at``
    left_out: Fold | None = None
    cut_off_at: datetime | None = None

    @property
    def open_steps(self) -> list[str]:
        return [key for key, step in self.steps.items() if step.ended is None]

    @property
    def open_waits(self) -> list[str]:
        return [key for key, wait in self.waits.items() if wait.status == WaitStatus.WAITING]

    @property
    def open_hooks(self) -> list[str]:
        return [key for key, hook in self.hooks.items() if hook.disposed_at is None]

    @property
    def open_children(self) -> list[str]:
        return [key for key, child in self.children.items() if child.ended is None]


def fold(log: Sequence[Record]) -> Fold:
    """Fold a log, or a prefix of one. What retries left out does not count; the end of the run closes nothing here."""
    kept = effective(log)
    found = _fold(kept)
    if len(kept) < len(log):
        sequences = {record.sequence for record in kept}
        found.left_out = _fold([record for record in log if record.sequence not in sequences])
        found.cut_off_at = next((r.created_at for r in reversed(log) if r.type == "run_retried"), None)
    return found


def _fold(records: Sequence[Record]) -> Fold:
    found = Fold()
    for record in records:
        apply = _APPLY.get(record.type)
        if apply is not None:
            apply(found, record)
    return found


def parts(record: Record) -> dict[str, Any]:
    """The event's fields as plain JSON, tags and all: readable also where a class that they name is gone."""
    found: dict[str, Any] = json.loads(record.data)
    return found


def encoded(value: Any) -> Encoded:
    """A value out of :func:`parts` as the encoded text that it was."""
    return Encoded(json.dumps(value, separators=(",", ":")))


def _run_created(fold: Fold, record: Record) -> None:
    fold.attributes = dict(record.payload["attributes"] or {})


def _attributes_set(fold: Fold, record: Record) -> None:
    fold.attributes = merge_attributes(fold.attributes, record.payload["attributes"])


def _run_started(fold: Fold, record: Record) -> None:
    fold.started = fold.started or record


def _run_ended(fold: Fold, record: Record) -> None:
    fold.terminal = record


def _step_created(fold: Fold, record: Record) -> None:
    fold.steps[record.correlation_id] = FoldedStep(record, available_at=record.created_at)


def _step_started(fold: Fold, record: Record) -> None:
    if (step := fold.steps.get(record.correlation_id)) is not None:
        started = parts(record)
        step.status = StepStatus.RUNNING
        step.attempt, step.worker = started["attempt"], started["worker"]
        step.started_at = step.started_at or record.created_at


def _step_retrying(fold: Fold, record: Record) -> None:
    if (step := fold.steps.get(record.correlation_id)) is not None:
        retrying = parts(record)
        step.status, step.worker = StepStatus.PENDING, None
        step.available_at, step.failed = loads(encoded(retrying["retry_at"])), record
        if retrying["lost"]:
            step.losses += 1
        else:
            step.failures += 1


def _step_ended(fold: Fold, record: Record) -> None:
    if (step := fold.steps.get(record.correlation_id)) is not None:
        step.status, step.ended = StepStatus(record.type.removeprefix("step_")), record
        if record.type == "step_failed":
            step.failures += 1
            step.failed = record


def _wait_created(fold: Fold, record: Record) -> None:
    fold.waits[record.correlation_id] = FoldedWait(record)


def _wait_ended(fold: Fold, record: Record) -> None:
    if (wait := fold.waits.get(record.correlation_id)) is not None:
        wait.status = WaitStatus(record.type.removeprefix("wait_"))
        wait.completed_at = record.created_at


def _hook_created(fold: Fold, record: Record) -> None:
    fold.hooks[record.correlation_id] = FoldedHook(record)


def _hook_disposed(fold: Fold, record: Record) -> None:
    if (hook := fold.hooks.get(record.correlation_id)) is not None:
        hook.disposed_at = hook.disposed_at or record.created_at


def _child_started(fold: Fold, record: Record) -> None:
    fold.children[record.correlation_id] = FoldedChild(record)


def _child_ended(fold: Fold, record: Record) -> None:
    if (child := fold.children.get(record.correlation_id)) is not None:
        child.ended = record


_APPLY: dict[str, Callable[[Fold, Record], None]] = {
    "run_created": _run_created,
    "run_started": _run_started,
    "run_completed": _run_ended,
    "run_failed": _run_ended,
    "run_cancelled": _run_ended,
    "attributes_set": _attributes_set,
    "step_created": _step_created,
    "step_started": _step_started,
    "step_retrying": _step_retrying,
    "step_completed": _step_ended,
    "step_failed": _step_ended,
    "step_cancelled": _step_ended,
    "wait_created": _wait_created,
    "wait_completed": _wait_ended,
    "wait_cancelled": _wait_ended,
    "hook_created": _hook_created,
    "hook_disposed": _hook_disposed,
    "child_started": _child_started,
    "child_completed": _child_ended,
    "child_failed": _child_ended,
}
