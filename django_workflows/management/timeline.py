"""A run as a timeline for a terminal: the lanes of its log, labelled. How it looks is the business of ``drawing``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from django_workflows.eventlog.events import Entity, HookReceived, Record, WaitCompleted
from django_workflows.eventlog.records import reencode
from django_workflows.eventlog.statuses import HookStatus
from django_workflows.inspection.lanes import Lane, Stroke, draw_lanes
from django_workflows.inspection.text import format_span
from django_workflows.serialization import loads
from django_workflows.values.durations import humanize
from django_workflows.values.ids import is_secret

from .values import clean, error_sentence


class Stretch(Enum):
    """What an entity did in a stretch of time."""

    QUEUED = "queued"  # a step waits for a worker or for its next attempt
    GOOD = "good"  # an attempt that ended well, or is still running
    BAD = "bad"  # an attempt that failed
    LOST = "lost"  # an attempt whose worker vanished
    OPEN = "open"  # a sleep, a hook, a child run


@dataclass(frozen=True, slots=True)
class Bar:
    start: datetime
    end: datetime
    what: Stretch


@dataclass(slots=True)
class Row:
    """One entity of the run: a step, a wait, a hook or a child. ``state`` is its status in one word."""

    label: str
    state: str
    bars: list[Bar] = field(default_factory=list)
    #: moments at which a hook received a payload
    marks: list[datetime] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Timeline:
    start: datetime
    end: datetime
    rows: list[Row]


def build_timeline(records: Sequence[Record], *, now: datetime, ended_at: datetime | None = None) -> Timeline:
    """The rows of a whole log in order of creation. What is still open reaches to ``now``, or to the run's end."""
    if not records:
        return Timeline(now, now, [])
    run, lanes = draw_lanes(records)
    last = max(records[-1].created_at, ended_at or now)
    return Timeline(run.start, last, [_row(lane, last) for lane in lanes])


def _row(lane: Lane, last: datetime) -> Row:
    bars = [Bar(stroke.start, stroke.end or last, _stretch(stroke)) for stroke in lane.strokes]
    marks = [mark.at for mark in lane.marks if mark.kind == _DELIVERY]
    state = "open" if lane.status == HookStatus.ACTIVE else lane.status
    return Row(_LABELS[lane.entity](lane), state, bars, marks, _note(lane, len(marks)))


def _stretch(stroke: Stroke) -> Stretch:
    if stroke.kind in ("queued", "backoff"):
        return Stretch.QUEUED
    if stroke.outcome == "lost":
        return Stretch.LOST
    if stroke.outcome == "failed":
        return Stretch.BAD
    return Stretch.GOOD if stroke.kind == "attempt" else Stretch.OPEN


def length_of(row: Row) -> str:
    """How long the entity lived, in words."""
    return format_span(row.bars[-1].end - row.bars[0].start) if row.bars else ""


# --- what is said beside the bars ------------------------------------------------------------------------------------


def _mark_of(event: Any) -> str:
    return str(event.traits.mark.name)


_DELIVERY, _WOKEN = _mark_of(HookReceived), _mark_of(WaitCompleted)


def _note(lane: Lane, deliveries: int) -> str:
    attempts = len(lane.attempts)
    notes = [f"{attempts} attempts"] if attempts > 1 else []
    if deliveries:
        notes.append(f"received {deliveries}")
    elif lane.status == HookStatus.CONFLICT:
        notes.append(f"the token belongs to {lane.facts['owner']}")
    elif any(mark.kind == _WOKEN for mark in lane.marks):
        notes.append("woken")
    elif lane.outcome != "completed" and (failed := _failure(lane)):
        notes.append(failed)
    elif lane.entity is Entity.CHILD:
        notes.append(clean(lane.facts.get("child", "")))
    return ", ".join(notes)


def _failure(lane: Lane) -> str:
    """The last failure of what has not ended well, nor yet."""
    if lane.attempts and lane.attempts[-1].outcome == "lost":
        return "lost its worker"
    return error_sentence(lane.error)


def _step_label(lane: Lane) -> str:
    """``step:charge_card:1`` -> ``charge_card``, the number only from 2 on."""
    name, _, number = lane.correlation_id.partition(":")[2].rpartition(":")
    name = clean(name.rpartition(".")[2]) or clean(lane.correlation_id)
    return f"{name} #{number}" if number not in ("1", "") else name


def _wait_label(lane: Lane) -> str:
    """A sleep of two days is due a few milliseconds less than two days after its creation was recorded."""
    due_at = loads(reencode(lane.facts["due_at"]))
    seconds = (due_at - lane.start).total_seconds()
    return f"wait {humanize(timedelta(seconds=round(seconds) if seconds >= 1 else round(seconds, 2)))}"


def _hook_label(lane: Lane) -> str:
    """With its token, unless that is a secret: a webhook's, or one that was made up."""
    token, is_webhook = str(lane.facts["token"]), bool(lane.facts.get("is_webhook"))
    if is_webhook:
        return "webhook"
    return "hook" if is_secret(token, is_webhook) else clean(f"hook {token}")


def _child_label(lane: Lane) -> str:
    return clean(f"child {lane.facts['workflow'].rpartition('.')[2]}")


_LABELS = {
    Entity.STEP: _step_label,
    Entity.WAIT: _wait_label,
    Entity.HOOK: _hook_label,
    Entity.CHILD: _child_label,
}
