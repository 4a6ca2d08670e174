"""From a log to lanes: one lane per step, wait, hook and child, with a stroke for each attempt, pause and delivery.

A lane is the entity as the log's fold has it, which draws what becomes of it. It works on records alone, of which only
those that :data:`NEEDED_DATA` names must have their data, so that it can be tested without a database.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..eventlog import events
from ..eventlog.events import TYPES, Entity, Record
from ..eventlog.fold import EntityFold, FoldedEntity
from ..eventlog.records import raw_fields
from ..eventlog.statuses import HookStatus, StepStatus

#: types whose data says something that a drawing needs; the data of the others may be megabytes and need not be read
NEEDED_DATA = tuple(type for type, cls in TYPES.items() if cls.is_light)
#: the stroke with which an entity begins
_FIRST_STROKE = {Entity.STEP: "queued", Entity.WAIT: "sleep", Entity.HOOK: "hook", Entity.CHILD: "child"}
#: how an end looks, where its status is no outcome
_OUTCOMES: dict[str, str] = {HookStatus.DISPOSED: "completed", HookStatus.CONFLICT: "failed"}


@dataclass(slots=True)
class Stroke:
    """``kind``: attempt (something ran), queued, backoff, sleep, hook, child or run."""

    kind: str
    start: datetime
    end: datetime | None = None
    #: completed, failed, lost, cancelled or running
    outcome: str = "running"
    attempt: int = 0
    worker: str = ""
    error: Any = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at one moment. ``kind`` is the name of a :class:`TimelineMark`, ``text`` says it."""

    kind: str
    text: str
    at: datetime
    sequence: int


@dataclass(slots=True)
class Lane(FoldedEntity):
    """The life of an entity, or of the run itself, drawn. ``outcome`` is how it looks; ``status`` what it is."""

    end: datetime | None = None
    outcome: str = "running"
    strokes: list[Stroke] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    #: what the event of its creation says, as plain JSON, as far as its data was read
    facts: dict[str, Any] = field(default_factory=dict)
    #: of its last failure
    error: Any = None

    @property
    def kind(self) -> str:
        return self.entity.value

    @property
    def correlation_id(self) -> str:
        return self.created.correlation_id

    @property
    def sequence(self) -> int:
        """Of the first event about it that is drawn."""
        return self.created.sequence

    @property
    def start(self) -> datetime:
        return self.created.created_at

    @property
    def attempts(self) -> list[Stroke]:
        return [stroke for stroke in self.strokes if stroke.kind == "attempt"]

    # --- drawing -----------------------------------------------------------------------------------------------------

    def draw(self, kind: str, at: datetime, *, attempt: int = 0, worker: str = "") -> None:
        """Begin a stroke."""
        self.strokes.append(Stroke(kind, at, attempt=attempt, worker=worker))
        self.end, self.outcome = None, "running"

    def lift(self, at: datetime, outcome: str, error: Any = None) -> None:
        """End the stroke that is being drawn, if there is one."""
        if self.strokes and self.strokes[-1].end is None:
            stroke = self.strokes[-1]
            stroke.end, stroke.outcome, stroke.error = at, outcome, error

    def finish(self, at: datetime, outcome: str, error: Any = None) -> None:
        """End the lane."""
        self.lift(at, outcome, error)
        self.end, self.outcome = at, outcome

    def note(self, record: Record) -> None:
        """Mark the moment of an event, where its kind is marked."""
        mark = record.traits.mark
        if mark is not None and record.traits.marks(raw_fields(record)):
            self.marks.append(Mark(mark.name, mark.text, record.created_at, record.sequence))

    # --- what the fold says ------------------------------------------------------------------------------------------

    def apply(self, record: Record) -> None:
        traits, said = record.traits, raw_fields(record)
        self.note(record)
        self.error = said.get("error", self.error)
        if traits.opens:
            self.facts.update(said)
            if not traits.closes:
                self.draw(_FIRST_STROKE[self.entity], record.created_at)
        elif traits.entity is Entity.STEP and not traits.closes:
            self._draw_attempt(record, said)
        FoldedEntity.apply(self, record)

    def _draw_attempt(self, record: Record, said: dict[str, Any]) -> None:
        if record.traits.status == StepStatus.RUNNING:
            self.lift(record.created_at, "completed")
            attempt, worker = int(said.get("attempt") or 0), said.get("worker") or ""
            self.draw("attempt", record.created_at, attempt=attempt, worker=worker)
        elif record.traits.status == StepStatus.PENDING:
            self.lift(record.created_at, "lost" if said.get("lost") else "failed", said.get("error"))
            self.draw("backoff", record.created_at)

    def close(self, status: str, record: Record) -> None:
        error = raw_fields(record).get("error") if record.traits.entity is self.entity else None
        self.finish(record.created_at, _OUTCOMES.get(status, status), error)
        FoldedEntity.close(self, status, record)

    def reopen(self, record: Record) -> None:
        self.draw(_FIRST_STROKE[self.entity], record.created_at)
        FoldedEntity.reopen(self, record)


def draw_lanes(records: Iterable[Record]) -> tuple[Lane, list[Lane]]:
    """The run's own lane and those of its entities, in the order in which they appear. There is at least one record.

    The records may begin in the middle of the log: an entity is drawn from the first event about it.
    """
    rest = iter(records)
    first = next(rest)
    run, lives = RunLane(first), EntityFold(Lane)
    for record in (first, *rest):
        if record.type in TYPES:  # a newer version may have written others
            lives.apply(record)
            run.follow(record)
    return run, list(lives.entities.values())


@dataclass(slots=True)
class RunLane(Lane):
    """The lane of the run itself: queued until it is started, then one stroke per life."""

    @property
    def kind(self) -> str:
        return Entity.RUN.value

    @property
    def correlation_id(self) -> str:
        return ""

    def follow(self, record: Record) -> None:
        traits, at = record.traits, record.created_at
        if traits.entity is not Entity.RUN:
            return
        self.note(record)
        if record.type == events.RunCreated.type:
            self.draw("queued", at)
        elif traits.closes:
            if not self.strokes:
                self.draw("run", self.start)
            self.finish(at, str(traits.status))
        elif traits.status is not None:
            self.lift(at, "completed")
            self.draw("run", at, worker=raw_fields(record).get("worker") or "")
