"""What the validator looks at, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from ..eventlog import events
from ..eventlog.events import RUN_TERMINALS, Record
from ..models import Hook, Run, Step, Stream, Wait


@dataclass(frozen=True, slots=True)
class Violation:
    """``rule`` is the number in the catalogue (see the package's text), ``what`` a sentence without a full stop."""

    run_id: str
    rule: int
    what: str

    def __str__(self) -> str:
        return f"{self.run_id} rule {self.rule}: {self.what}"


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One row of the log: the record that the engine sees, and the columns beside it."""

    record: Record
    life: int = 0
    idempotency_key: str | None = None

    @property
    def type(self) -> str:
        return self.record.type

    @property
    def sequence(self) -> int:
        return self.record.sequence

    @property
    def at(self) -> datetime:
        return self.record.created_at

    @property
    def skipped(self) -> frozenset[int]:
        """Of a ``run_retried``: sequences of the events that hold no more."""
        return frozenset(self.record.payload.get("skipped") or ())


@dataclass(frozen=True, slots=True)
class StreamSpan:
    """A stream's row as read before and after its chunks, which other transactions may be adding to."""

    stream: Stream
    next_index_after: int
    #: chunks below ``stream.next_index``, and the lowest and highest index of all
    chunks: int
    lowest: int | None
    highest: int | None
    last_chunk_at: datetime | None


@dataclass(frozen=True, slots=True)
class Subject:
    """One run with all that belongs to it, read at one moment. ``now`` is the database's time at that moment."""

    run: Run
    events: list[LoggedEvent]
    now: datetime
    steps: list[Step] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    hooks: list[Hook] = field(default_factory=list)
    streams: list[StreamSpan] = field(default_factory=list)

    @property
    def records(self) -> list[Record]:
        return [event.record for event in self.events]

    @property
    def was_retried(self) -> bool:
        return any(event.type == events.RunRetried.type for event in self.events)

    @property
    def was_erased(self) -> bool:
        """Whether its payloads are gone, so that no replay can make its decisions again."""
        return bool(self.events and self.events[0].record.payload.get("erased"))

    @property
    def ended(self) -> bool:
        return bool(self.run.status in ("completed", "failed", "cancelled"))

    def of(self, correlation_id: str) -> Iterator[LoggedEvent]:
        """The events of one entity, with those that end or reopen the run's lives in between."""
        for event in self.events:
            if event.record.correlation_id == correlation_id or event.type in (*RUN_TERMINALS, events.RunRetried.type):
                yield event

    def created(self, *types: str) -> list[LoggedEvent]:
        return [event for event in self.events if event.type in types]

    def violation(self, rule: int, what: str) -> Violation:
        return Violation(self.run.id, rule, what)
