"""A run as a timeline: which entity lived when, folded from the log. How it looks is the business of ``drawing``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from django_workflows.eventlog.events import Record
from django_workflows.inspection.text import format_span
from django_workflows.values.durations import humanize

from .values import clean, error_sentence

#: how tokens look that the engine makes up
_SECRET = re.compile(r"[A-Za-z0-9_-]{32}")


class Stretch(Enum):
    """What an entity did in a stretch of time."""

    QUEUED = "queued"  # a step waits for a worker or for its next attempt
    GOOD = "good"  # an attempt that ended well, or is still running
    BAD = "bad"  # an attempt that failed
    LOST = "lost"  # an attempt whose worker vanished
    OPEN = "open"  # a sleep, a hook, a child run


@dataclass(slots=True)
class Bar:
    start: datetime
    end: datetime | None
    what: Stretch


@dataclass(slots=True)
class Row:
    """One entity of the run: a step, a wait, a hook or a child. ``state`` is its status in one word."""

    label: str
    state: str
    bars: list[Bar] = field(default_factory=list)
    #: moments at which a hook received a payload
    marks: list[datetime] = field(default_factory=list)
    attempts: int = 0
    note: str = ""

    def open(self, at: datetime, what: Stretch) -> None:
        self.bars.append(Bar(at, None, what))

    def close(self, at: datetime, what: Stretch | None = None) -> None:
        if self.bars and self.bars[-1].end is None:
            self.bars[-1].end = at
            self.bars[-1].what = what or self.bars[-1].what


@dataclass(frozen=True, slots=True)
class Timeline:
    start: datetime
    end: datetime
    rows: list[Row]


def build_timeline(records: Iterable[Record], *, now: datetime, ended_at: datetime | None = None) -> Timeline:
    """Fold a log into rows in order of creation. What is still open reaches to ``now``, or to the run's end."""
    rows: dict[str, Row] = {}
    start = end = now
    for index, record in enumerate(records):
        if index == 0:
            start = end = record.created_at
        end = record.created_at
        _fold(rows, record)
    last = max(end, ended_at or now)
    for row in rows.values():
        _finish(row, last, ended=ended_at is not None)
    return Timeline(start, last, list(rows.values()))


def _fold(rows: dict[str, Row], record: Record) -> None:
    at, payload, row = record.created_at, record.payload, rows.get(record.correlation_id)
    match record.type:
        case "step_created":
            row = rows[record.correlation_id] = Row(_label(record.correlation_id), "pending")
            row.open(at, Stretch.QUEUED)
        case "wait_created":
            row = rows[record.correlation_id] = Row(f"wait {_rounded(payload['due_at'] - at)}", "waiting")
            row.open(at, Stretch.OPEN)
        case "hook_created":
            row = rows[record.correlation_id] = Row(_hook_label(record), "open")
            row.open(at, Stretch.OPEN)
        case "child_started":
            name = payload["workflow"].rpartition(".")[2]
            row = rows[record.correlation_id] = Row(clean(f"child {name}"), "running", note=clean(payload["child"]))
            row.open(at, Stretch.OPEN)
        case "hook_conflict":
            note = f"the token belongs to {payload['owner']}"
            rows[record.correlation_id] = Row(_hook_label(record), "conflict", note=note)
        case _ if row is not None:
            _change(row, record)


def _change(row: Row, record: Record) -> None:
    at, payload = record.created_at, record.payload
    match record.type:
        case "step_started":
            row.close(at)
            row.open(at, Stretch.GOOD)
            row.state, row.attempts = "running", payload["attempt"]
        case "step_retrying":
            row.close(at, Stretch.LOST if payload.get("lost") else Stretch.BAD)
            row.open(at, Stretch.QUEUED)
            row.state = "pending"
            row.note = "lost its worker" if payload.get("lost") else error_sentence(payload["error"])
        case "step_completed" | "child_completed":
            row.close(at)
            row.state, row.note = "completed", row.note if record.type == "child_completed" else ""
        case "step_failed" | "child_failed":
            row.close(at, Stretch.BAD)
            row.state = "cancelled" if payload.get("cancelled") else "failed"
            row.note = error_sentence(payload["error"])
        case "step_cancelled" | "wait_cancelled":
            row.close(at)
            row.state = "cancelled"
        case "wait_completed":
            row.close(at)
            row.state, row.note = "completed", "woken" if payload["woken"] else ""
        case "hook_received":
            row.marks.append(at)
        case "hook_disposed":
            row.close(at)
            row.state = "disposed"


def _finish(row: Row, last: datetime, *, ended: bool) -> None:
    """The run's end implies the end of what was still open, but for steps that were running."""
    row.close(last)
    if ended and row.state in ("pending", "waiting"):
        row.state = "cancelled"
    if ended and row.state == "open":
        row.state = "disposed"
    if row.marks:
        row.note = f"received {len(row.marks)}"
    if row.attempts > 1:
        row.note = f"{row.attempts} attempts" + (f", {row.note}" if row.note else "")


def length_of(row: Row) -> str:
    """How long the entity lived, in words."""
    if not row.bars or row.bars[-1].end is None:
        return ""
    return format_span(row.bars[-1].end - row.bars[0].start)


def _rounded(length: timedelta) -> str:
    """A sleep of two days is due a few milliseconds less than two days after its creation was recorded."""
    seconds = length.total_seconds()
    return humanize(timedelta(seconds=round(seconds) if seconds >= 1 else round(seconds, 2)))


def _label(correlation_id: str) -> str:
    """``step:charge_card:1`` -> ``charge_card``, the number only from 2 on."""
    name, _, number = correlation_id.partition(":")[2].rpartition(":")
    name = clean(name.rpartition(".")[2]) or clean(correlation_id)
    return f"{name} #{number}" if number not in ("1", "") else name


def _hook_label(record: Record) -> str:
    """With its token, unless that is a secret: a webhook's, or one that was made up."""
    token = str(record.payload["token"])
    if record.payload.get("is_webhook"):
        return "webhook"
    return "hook" if _SECRET.fullmatch(token) else clean(f"hook {token}")
