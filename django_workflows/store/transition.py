"""What one transaction does to one locked run, gathered in memory and written at the end, all or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..eventlog.events import Record
from .rows import OpenEntities, RunRow, StepRow, WaitRow

#: wakes workers for whatever is due or claimable
ANY_STEP = ""


@dataclass(slots=True)
class EventRow:
    """An event to be written. ``life``: the run's, from 0. ``idempotency_key``: the sender's, of a delivery to a hook."""

    record: Record
    life: int
    idempotency_key: str | None


@dataclass(slots=True)
class Note:
    """What observers are told that no event says: ``facts`` by name."""

    name: str
    facts: dict[str, Any]
    step: StepRow | None = None


class Transition:
    """``now`` is the database's time, never earlier than the run's last event. Verbs fill the lists, ``write`` stores them."""

    __slots__ = (
        "_expected_wake",
        "changed",
        "changed_steps",
        "changed_waits",
        "entities",
        "events",
        "expected_at",
        "expected_sequence",
        "new_steps",
        "new_waits",
        "notes",
        "now",
        "outbox",
        "raised",
        "run",
        "run_changed",
        "wake",
    )

    def __init__(self, entities: OpenEntities, now: datetime) -> None:
        self.entities = entities
        self.run: RunRow = entities.run
        self.now = max(now, self.run.last_event_at)
        self.expected_sequence = self.run.last_sequence
        self.expected_at = self.run.last_event_at
        self._expected_wake = self.run.wake_at
        self.events: list[EventRow] = []
        self.new_steps: dict[str, StepRow] = {}
        self.changed_steps: dict[str, StepRow] = {}
        self.new_waits: dict[str, WaitRow] = {}
        self.changed_waits: dict[str, WaitRow] = {}
        #: rows of ``Outbox``: (kind, target, payload)
        self.outbox: list[tuple[str, str, Any]] = []
        #: more than ``last_sequence``, ``last_event_at`` and ``wake_at`` of the run has changed
        self.run_changed = False
        #: payloads of ``WORK``: runs that are due for other processes, ``ANY_STEP`` for steps that wait for any worker
        self.wake: set[str] = set()
        #: payloads of ``CHANGED``: what waiters may be waiting for
        self.changed: list[str] = []
        #: what observers learn once it is committed, beside the events
        self.notes: list[Note] = []
        #: what was raised, by the sequence of the event that records it, where this process has caught it
        self.raised: dict[int, BaseException] = {}

    @property
    def empty(self) -> bool:
        """Nothing has to be written."""
        return not (self.events or self.run_changed) and self.run.wake_at == self._expected_wake

    def adopt(self, entities: OpenEntities) -> None:
        """Go on with a entities that is known to fit the locked row."""
        entities.run = self.run
        self.entities = entities

    def records(self, after: int) -> list[Record]:
        """The records appended in this transition whose sequence is higher than ``after``."""
        first = self.expected_sequence + 1  # of this transition's first event
        return [row.record for row in self.events[max(0, after + 1 - first) :]]

    def change_step(self, step: StepRow) -> None:
        """Note that a step's row has changed. A step that is new in this transition is written once, as it ends up."""
        if step.id not in self.new_steps:
            self.changed_steps[step.id] = step

    def change_wait(self, wait: WaitRow) -> None:
        """Note that a wait's row has changed, as :meth:`change_step` does."""
        if wait.id not in self.new_waits:
            self.changed_waits[wait.id] = wait
