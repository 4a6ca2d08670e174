"""What a log says about its run and the run's entities: what the tables hold, made anew from the events.

The one fold: repair, forks, imports, retries, erasure and what is drawn of a run ask it. (``verify`` has another one, on
purpose.) Entities that a retry left out of the log stay in the tables; they stay here, too, ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from ..serialization import loads
from ..values.attributes import merge_attributes
from . import events
from .events import Entity, Record
from .lives import effective, skipped_by
from .records import raw_fields, reencode
from .statuses import HookStatus, RunStatus, StepStatus, WaitStatus

#: events that say, or take back, what the run's attributes are
CHANGE_ATTRIBUTES = (events.RunCreated.type, events.AttributesSet.type, events.RunRetried.type)
#: what the run's terminal event implies for what is still open; a step that is running may still say how it went
IMPLIED_ENDS: dict[tuple[Entity, str], str] = {
    (Entity.STEP, StepStatus.PENDING): StepStatus.CANCELLED,
    (Entity.WAIT, WaitStatus.WAITING): WaitStatus.CANCELLED,
    (Entity.HOOK, HookStatus.ACTIVE): HookStatus.DISPOSED,
}
#: what becomes of what a retry leaves out of the log
_LEFT_OUT: dict[Entity, str] = {
    Entity.STEP: StepStatus.CANCELLED,
    Entity.WAIT: WaitStatus.CANCELLED,
    Entity.HOOK: HookStatus.DISPOSED,
    Entity.CHILD: RunStatus.CANCELLED,
}


@dataclass(slots=True)
class FoldedEntity:
    """A step, wait, hook or child. ``ended``: the event that ended it, by itself or because the run ended."""

    created: Record
    status: str
    ended: Record | None = None
    #: a retry has left its creation out: the body no longer knows of it
    left_out: bool = False

    @property
    def entity(self) -> Entity:
        return self.created.traits.entity

    @property
    def ended_at(self) -> datetime | None:
        return None if self.ended is None else self.ended.created_at

    def end(self, status: str, record: Record) -> None:
        self.status, self.ended = status, record

    def reopen(self, at: datetime) -> None:
        """A retry has taken its end back."""
        status = self.created.traits.status
        assert status is not None
        self.status, self.ended = status, None


@dataclass(slots=True)
class FoldedStep(FoldedEntity):
    """``failures`` and ``losses`` as far as they count against the budgets of the step's last start."""

    attempt: int = 0
    failures: int = 0
    losses: int = 0
    worker: str | None = None
    available_at: datetime | None = None
    started_at: datetime | None = None
    #: the event that holds its last error
    failed: Record | None = None

    def reopen(self, at: datetime) -> None:
        """It waits for a worker again; one that had failed gets its budgets anew."""
        if self.ended is not None and self.ended.type == events.StepFailed.type:
            self.failures = self.losses = 0
        self.worker, self.available_at = None, at
        FoldedEntity.reopen(self, at)


@dataclass(slots=True)
class Fold:
    """Entities by correlation id, in the order of their creation; the run's attributes and how far it has come."""

    steps: dict[str, FoldedStep] = field(default_factory=dict)
    waits: dict[str, FoldedEntity] = field(default_factory=dict)
    hooks: dict[str, FoldedEntity] = field(default_factory=dict)
    children: dict[str, FoldedEntity] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    created: Record | None = None
    started: Record | None = None
    cancel_requested: Record | None = None
    timed_out: Record | None = None
    #: how the log ends, if it does
    terminal: Record | None = None
    #: from 0, one more for each retry
    life: int = 0
    last: Record | None = None

    @property
    def status(self) -> str:
        """The run's."""
        latest = self.terminal or self.started
        status = RunStatus.PENDING if latest is None else latest.traits.status
        assert status is not None
        return status

    @property
    def open_steps(self) -> list[str]:
        return _open(self.steps)

    @property
    def open_waits(self) -> list[str]:
        return _open(self.waits)

    @property
    def open_hooks(self) -> list[str]:
        return _open(self.hooks)

    @property
    def open_children(self) -> list[str]:
        return _open(self.children)

    def entities(self) -> Iterable[FoldedEntity]:
        """All of them, whether they are open or not."""
        for group in (self.steps, self.waits, self.hooks, self.children):
            yield from group.values()


def _open(entities: dict[str, E]) -> list[str]:
    return [key for key, entity in entities.items() if entity.ended is None]


E = TypeVar("E", bound=FoldedEntity)


def fold(log: Sequence[Record]) -> Fold:
    """Fold a log, or a prefix of one."""
    found = Fold()
    for record in log:
        _APPLY[record.traits.entity](found, record)
        found.last = record
    if found.life:
        found.attributes = attributes_of(log)
    return found


def attributes_of(log: Sequence[Record]) -> dict[str, str]:
    """The run's attributes after this log; its records of the types in :data:`CHANGE_ATTRIBUTES` are enough."""
    found = Fold()
    for record in effective(log):
        _change_attributes(found, record)
    return found.attributes


# --- the run ---------------------------------------------------------------------------------------------------------


def _fold_run(found: Fold, record: Record) -> None:
    _RUN[record.type](found, record)


def _created(found: Fold, record: Record) -> None:
    found.created = record
    _change_attributes(found, record)


def _started(found: Fold, record: Record) -> None:
    found.started = found.started or record


def _cancel_requested(found: Fold, record: Record) -> None:
    found.cancel_requested = found.cancel_requested or record


def _timed_out(found: Fold, record: Record) -> None:
    found.timed_out = record


def _ended(found: Fold, record: Record) -> None:
    """The terminal event closes what is open."""
    found.terminal = record
    for entity in found.entities():
        implied = IMPLIED_ENDS.get((entity.entity, entity.status))
        if implied is not None:
            entity.end(implied, record)


def _retried(found: Fold, record: Record) -> None:
    """Another life: what the last end closed is open again, and what ended by what is left out from now on."""
    skipped, terminal = skipped_by(record), found.terminal
    for entity in found.entities():
        if entity.created.sequence in skipped:
            entity.left_out = True
            if entity.ended is None:
                entity.end(_LEFT_OUT[entity.entity], record)
        elif _is_taken_back(entity, terminal, skipped):
            entity.reopen(record.created_at)
    found.terminal = found.cancel_requested = found.timed_out = None
    found.life += 1


def _is_taken_back(entity: FoldedEntity, terminal: Record | None, skipped: Collection[int]) -> bool:
    ended = entity.ended
    return not entity.left_out and ended is not None and (ended is terminal or ended.sequence in skipped)


_RUN: dict[str, Callable[[Fold, Record], None]] = {
    events.RunCreated.type: _created,
    events.RunStarted.type: _started,
    events.RunCompleted.type: _ended,
    events.RunFailed.type: _ended,
    events.RunCancelRequested.type: _cancel_requested,
    events.RunTimedOut.type: _timed_out,
    events.RunCancelled.type: _ended,
    events.RunRetried.type: _retried,
}


def _change_attributes(found: Fold, record: Record) -> None:
    if record.type in (events.RunCreated.type, events.AttributesSet.type):
        found.attributes = merge_attributes(found.attributes, record.payload["attributes"] or {})


# --- entities --------------------------------------------------------------------------------------------------------


def _fold_step(found: Fold, record: Record) -> None:
    traits, step = record.traits, found.steps.get(record.correlation_id)
    if traits.opens:
        found.steps[record.correlation_id] = FoldedStep(record, str(traits.status), available_at=record.created_at)
    elif step is not None and traits.status is not None and step.ended is None:
        _STEP[record.type](step, record)
        _change(step, record)


def _step_started(step: FoldedStep, record: Record) -> None:
    started = raw_fields(record)
    step.attempt, step.worker = started["attempt"], started["worker"]
    step.started_at = step.started_at or record.created_at


def _step_retrying(step: FoldedStep, record: Record) -> None:
    retrying = raw_fields(record)
    step.worker, step.failed = None, record
    step.available_at = loads(reencode(retrying["retry_at"])) or record.created_at
    if retrying.get("lost"):
        step.losses += 1
    else:
        step.failures += 1


def _step_failed(step: FoldedStep, record: Record) -> None:
    step.failures += 1
    step.failed = record


def _nothing(step: FoldedStep, record: Record) -> None:
    """The event changes no more than the step's status."""


#: what events that change the step's status say beyond it
_STEP: dict[str, Callable[[FoldedStep, Record], None]] = {
    events.StepStarted.type: _step_started,
    events.StepRetrying.type: _step_retrying,
    events.StepCompleted.type: _nothing,
    events.StepFailed.type: _step_failed,
    events.StepCancelled.type: _nothing,
}


def _fold_in(group: Callable[[Fold], dict[str, FoldedEntity]]) -> Callable[[Fold, Record], None]:
    """Entities of which only the status changes. One that begins and ends at once, a hook in conflict, has no row."""

    def apply(found: Fold, record: Record) -> None:
        traits, entities = record.traits, group(found)
        entity = entities.get(record.correlation_id)
        if traits.opens and not traits.closes:
            entities[record.correlation_id] = FoldedEntity(record, str(traits.status))
        elif entity is not None and entity.ended is None:
            _change(entity, record)

    return apply


def _change(entity: FoldedEntity, record: Record) -> None:
    traits = record.traits
    status = traits.status_after(raw_fields(record))
    if status is None:
        return
    if traits.closes:
        entity.end(status, record)
    else:
        entity.status = status


_APPLY: dict[Entity, Callable[[Fold, Record], None]] = {
    Entity.RUN: _fold_run,
    Entity.STEP: _fold_step,
    Entity.WAIT: _fold_in(lambda found: found.waits),
    Entity.HOOK: _fold_in(lambda found: found.hooks),
    Entity.CHILD: _fold_in(lambda found: found.children),
    Entity.ATTRIBUTES: _change_attributes,
    Entity.PATCH: lambda found, record: None,
}
