"""A run's log as lines of text, and following it while it grows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django_workflows.eventlog.events import TYPES, Record, Tone
from django_workflows.inspection.text import format_span
from django_workflows.models import Event
from django_workflows.serialization.display import represent_call

from .console import Console
from .values import error_sentence, show_moment, show_value

_WIDTH = 60


def detail_of(record: Record) -> str:
    """What is worth saying about an event beyond its type and its correlation id."""
    if record.type not in TYPES:  # a newer version wrote it
        return ""
    return record.traits.sentence(record.payload, _show)


def _show(name: str, value: Any) -> str:
    """A field of an event in its sentence; ``call``: all its arguments."""
    if name == "call":
        return show_value(f"({represent_call(value['args'], value['kwargs'])})", _WIDTH)
    if name == "error":
        return error_sentence(value)
    if isinstance(value, datetime):
        return show_moment(value)
    return "" if value is None and name == "reason" else show_value(value, _WIDTH)


def log_line(console: Console, record: Record, origin: datetime) -> str:
    """One event: seconds since the run's creation, type, entity, detail."""
    since = format_span(record.created_at - origin)
    tone = TYPES[record.type].traits.tone if record.type in TYPES else Tone.FAINT
    kind = console.paint(f"{record.type:<20}", tone)
    entity = show_value(record.correlation_id, 36)
    room = max(20, console.width - 12 - 20 - 38)
    return f"{since:>10}  {kind} {entity:<36} {show_value(detail_of(record), room)}".rstrip()


class LogFollower:
    """Prints the events of one run that it has not printed before."""

    def __init__(self, console: Console, run_id: str) -> None:
        self._console, self._run_id = console, run_id
        self._last = 0
        self._origin: datetime | None = None

    def show_new(self) -> None:
        rows = Event.objects.filter(run_id=self._run_id, sequence__gt=self._last)
        for event in rows.order_by("sequence"):
            self._origin = self._origin or event.created_at
            self._console.line(log_line(self._console, event.record, self._origin))
            self._last = event.sequence
