"""A run's log as lines of text, and following it while it grows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django_workflows.eventlog.events import Record
from django_workflows.inspection.text import format_span
from django_workflows.models import Event

from .console import Console
from .values import error_sentence, show_moment, show_value

_COLOURS = {
    "run_completed": "good",
    "step_completed": "good",
    "child_completed": "good",
    "hook_received": "good",
    "run_failed": "bad",
    "run_timed_out": "bad",
    "step_failed": "bad",
    "child_failed": "bad",
    "hook_conflict": "bad",
    "step_retrying": "busy",
    "run_cancelled": "busy",
    "run_cancel_requested": "busy",
}


def detail_of(record: Record) -> str:
    """What is worth saying about an event beyond its type and its correlation id."""
    payload = record.payload
    describe = _DETAILS.get(record.type)
    return describe(payload) if describe else ""


def _arguments(payload: dict[str, Any]) -> str:
    named = [f"{key}={value!r}" for key, value in payload["kwargs"].items()]
    return show_value(f"({', '.join([*map(repr, payload['args']), *named])})", 60)


def _retrying(payload: dict[str, Any]) -> str:
    if payload.get("lost"):
        return f"attempt {payload['attempt']} lost its worker"
    return f"attempt {payload['attempt']}: {error_sentence(payload['error'])}"


_DETAILS: dict[str, Any] = {
    "run_created": lambda p: f"{p['workflow']}{_arguments(p)}",
    "run_completed": lambda p: show_value(p["output"], 60),
    "run_failed": lambda p: error_sentence(p["error"]),
    "run_cancel_requested": lambda p: show_value(p["reason"] or "", 60),
    "run_cancelled": lambda p: show_value(p["reason"] or "", 60),
    "step_created": _arguments,
    "step_started": lambda p: f"attempt {p['attempt']}",
    "step_retrying": _retrying,
    "step_completed": lambda p: show_value(p["output"], 60),
    "step_failed": lambda p: error_sentence(p["error"]),
    "wait_created": lambda p: f"until {show_moment(p['due_at'])}",
    "wait_completed": lambda p: "woken" if p["woken"] else "",
    # A token is a secret that lets anybody answer for the hook; the log of a run is read by many.
    "hook_conflict": lambda p: f"owned by {p['owner']}",
    "hook_received": lambda p: show_value(p["payload"], 60),
    "child_started": lambda p: f"{p['workflow']} {p['child']}",
    "child_completed": lambda p: show_value(p["output"], 60),
    "child_failed": lambda p: "cancelled" if p["cancelled"] else error_sentence(p["error"]),
    "attributes_set": lambda p: show_value(p["attributes"], 60),
    "patch_recorded": lambda p: show_value(p["patch"], 60),
}


def log_line(console: Console, record: Record, origin: datetime) -> str:
    """One event: seconds since the run's creation, type, entity, detail."""
    since = format_span(record.created_at - origin)
    kind = console.paint(f"{record.type:<20}", _COLOURS.get(record.type, "faint"))
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
