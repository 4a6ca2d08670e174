"""What a log says about its run and the run's entities: what the tables hold, made anew from the events.

The one fold: repair, forks, imports, retries, erasure and the timelines ask it. (``verify`` has another one, on purpose.)
Entities that a retry left out of the log stay in the tables; they stay here, too, ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from ..serialization import loads
from ..values.attributes import merge_attributes
from . import events
from .events import RUN_TERMINALS, Entity, Record
from .lives import effective, skipped_by
from .records import raw_fields, reencode
from .statuses import HookStatus, RunStatus, StepStatus, WaitStatus

#: what the run's terminal event implies for what is still open; a step that is running may still say how it went
IMPLIED_ENDS: dict[tuple[Entity, str], str] = {
    (Entity.STEP, StepStatus.PENDING): StepStatus.CANCELLED,
    (Entity.WAIT, WaitStatus.WAITING): WaitStatus.CANCELLED,
    (Entity.HOOK, HookStatus.ACTIVE): HookStatus.DISPOSED,
}
#: what becomes of what is open when a retry leaves its creation out of the log
_LEFT_OUT: dict[Entity, str] = {
    Entity.STEP: StepStatus.CANCELLED,
    Entity.WAIT: WaitStatus.CANCELLED,
    Entity.HOOK: HookStatus.DISPOSED,
    Entity.CHILD: RunStatus.CANCELLED,
}
#: events that say, or take back, what the run's attributes are
CHANGE_ATTRIBUTES = (events.RunCreated.type, events.AttributesSet.type, events.RunRetried.type)


# --- entities --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class FoldedEntity:
    """A step, wait, hook or child. ``ended``: the event that ended it, by itself or because the run ended."""

    created: Record
    status: str = ""
    ended: Record | None = None

    @property
    def entity(self) -> Entity:
        return self.created.traits.entity

    @property
    def ended_at(self) -> datetime | None:
        return None if self.ended is None else self.ended.created_at

    def apply(self, record: Record) -> None:
        """One of its own events, from its creation on, while it is open."""
        status = record.traits.status_after(raw_fields(record))
        if status is None:
            return
        if record.traits.closes:
            self.close(status, record)
        else:
            self.status = status

    def close(self, status: str, record: Record) -> None:
        self.status, self.ended = status, record

    def reopen(self, record: Record) -> None:
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

    def apply(self, record: Record) -> None:
        if record.traits.status is not None:
            _STEP[record.type](self, record)
        FoldedEntity.apply(self, record)

    def reopen(self, record: Record) -> None:
        """It waits for a worker again; one that had failed gets its budgets anew."""
        if self.ended is not None and self.ended.type == events.StepFailed.type:
            self.failures = self.losses = 0
        self.worker, self.available_at = None, record.created_at
        FoldedEntity.reopen(self, record)


def _step_created(step: FoldedStep, record: Record) -> None:
    step.available_at = record.created_at


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
    events.StepCreated.type: _step_created,
    events.StepStarted.type: _step_started,
    events.StepRetrying.type: _step_retrying,
    events.StepCompleted.type: _nothing,
    events.StepFailed.type: _step_failed,
    events.StepCancelled.type: _nothing,
}


E = TypeVar("E", bound=FoldedEntity)


class EntityFold(Generic[E]):
    """The lives of a run's entities, by correlation id in the order of their creation, event by event.

    ``make`` gives the entity of the first event about it; None: there is none to be kept.
    """

    def __init__(self, make: Callable[[Record], E | None]) -> None:
        self.entities: dict[str, E] = {}
        self._make = make
        self._terminal: Record | None = None

    def apply(self, record: Record) -> None:
        if record.traits.entity in _LEFT_OUT:
            self._apply_own(record)
        elif record.type in RUN_TERMINALS:
            self._end(record)
        elif record.type == events.RunRetried.type:
            self._retry(record)

    def _apply_own(self, record: Record) -> None:
        entity = self.entities.get(record.correlation_id)
        if entity is None:
            entity = self._make(record)
            if entity is None:
                return
            self.entities[record.correlation_id] = entity
        if entity.ended is None:
            entity.apply(record)

    def _end(self, record: Record) -> None:
        """The terminal event closes what is open."""
        self._terminal = record
        for entity in self.entities.values():
            implied = IMPLIED_ENDS.get((entity.entity, entity.status))
            if implied is not None:
                entity.close(implied, record)

    def _retry(self, record: Record) -> None:
        """Another life: what the last end closed is open again, and so is what ended by what is left out."""
        skipped = skipped_by(record)
        for entity in self.entities.values():
            if entity.created.sequence in skipped:
                if entity.ended is None:
                    entity.close(_LEFT_OUT[entity.entity], record)
            elif self._is_taken_back(entity, skipped):
                entity.reopen(record)
        self._terminal = None

    def _is_taken_back(self, entity: E, skipped: Collection[int]) -> bool:
        ended = entity.ended
        return ended is not None and (ended is self._terminal or ended.sequence in skipped)


def _new_entity(record: Record) -> FoldedEntity | None:
    """What has a row, or is a run: a hook in conflict, which begins and ends at once, is neither."""
    if not record.traits.opens or record.traits.closes:
        return None
    return FoldedStep(record) if record.traits.entity is Entity.STEP else FoldedEntity(record)


# --- the run ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Fold:
    """Entities by correlation id, in the order of their creation; the run's attributes and how far it has come."""

    steps: dict[str, FoldedStep] = field(default_factory=dict)
    waits: dict[str, FoldedEntity] = field(default_factory=dict)
    hooks: dict[str, FoldedEntity] = field(default_factory=dict)
    children: dict[str, FoldedEntity] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
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


def _open(entities: dict[str, E]) -> list[str]:
    return [key for key, entity in entities.items() if entity.ended is None]


def fold(log: Sequence[Record]) -> Fold:
    """Fold a log, or a prefix of one."""
    found, lives = Fold(), EntityFold(_new_entity)
    for record in log:
        lives.apply(record)
        if record.traits.entity is Entity.RUN:
            _RUN[record.type](found, record)
        found.last = record
    for key, entity in lives.entities.items():
        if isinstance(entity, FoldedStep):
            found.steps[key] = entity
        else:
            {Entity.WAIT: found.waits, Entity.HOOK: found.hooks, Entity.CHILD: found.children}[entity.entity][key] = (
                entity
            )
    found.attributes = attributes_of(log)
    return found


def attributes_of(log: Sequence[Record]) -> dict[str, str]:
    """The run's attributes after this log; its records of the types in :data:`CHANGE_ATTRIBUTES` are enough."""
    found: dict[str, str] = {}
    for record in effective(log):
        if record.type in CHANGE_ATTRIBUTES:
            found = merge_attributes(found, record.payload["attributes"] or {})
    return found


def _created(found: Fold, record: Record) -> None:
    """Nothing but its attributes, which are folded apart."""


def _started(found: Fold, record: Record) -> None:
    found.started = found.started or record


def _cancel_requested(found: Fold, record: Record) -> None:
    found.cancel_requested = found.cancel_requested or record


def _timed_out(found: Fold, record: Record) -> None:
    found.timed_out = record


def _ended(found: Fold, record: Record) -> None:
    found.terminal = record


def _retried(found: Fold, record: Record) -> None:
    found.terminal = found.cancel_requested = found.timed_out = None
    found.life += 1


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
