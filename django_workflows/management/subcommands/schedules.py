"""``workflows schedules`` and ``workflows schedule show|pause|resume|trigger|preview|backfill NAME``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError

from django_workflows.api import inspection, schedules
from django_workflows.inspection.text import format_span
from django_workflows.models import Schedule
from django_workflows.values.text import truncate

from ..console import Console
from ..values import clean, show_moment
from .beat import from_beat
from .subcommand import Subcommand, positive


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument(
        "--from-beat", action="store_true", help="print what Celery beat has, as schedules of workflows"
    )
    parser.add_argument("--create", action="store_true", help="with --from-beat: create them")


def _list(console: Console, options: argparse.Namespace) -> int:
    if options.create and not options.from_beat:
        raise CommandError("--create goes with --from-beat.")
    if options.from_beat:
        return from_beat(console, create=options.create)
    rows = list(Schedule.objects.order_by("name"))
    if options.json:
        for row in rows:
            console.line(json.dumps(_as_json(row)))
        return 0
    now = inspection.now()
    width = min(50, max([8, *(len(row.name) for row in rows)]))
    for row in rows:
        name = truncate(clean(row.name), width)
        console.line(f"{name:<{width}}  {_when(row):<32} {_state(console, row, now)}")
    if not rows:
        console.line("No schedules. Declare one with @workflow(schedules=[...]), or api.create_schedule().")
    return 0


def _when(row: Schedule) -> str:
    if "cron" in row.spec:
        return f"{row.spec['cron']} {row.tz}"
    return f"every {format_span(_seconds(row.spec['every']))}"


def _seconds(number: float) -> Any:
    from datetime import timedelta

    return timedelta(seconds=number)


def _state(console: Console, row: Schedule, now: datetime) -> str:
    if row.paused_at is not None:
        reason = f": {clean(row.paused_reason)}" if row.paused_reason else ""
        return console.paint(f"paused since {show_moment(row.paused_at)}{reason}", "busy")
    if row.next_at is None:
        return console.paint("never fires again", "bad")
    if row.next_at <= now:
        return console.paint(f"due since {show_moment(row.next_at)}", "busy")
    return f"next {show_moment(row.next_at)}, in {format_span(row.next_at - now)}"


def _as_json(row: Schedule) -> dict[str, Any]:
    moments = {name: getattr(row, name) for name in ("next_at", "last_at", "paused_at", "created_at")}
    return {
        "name": row.name,
        "workflow": row.workflow,
        "spec": row.spec,
        "tz": row.tz,
        "overlap": row.overlap,
        "catchup": row.catchup,
        "jitter": row.jitter,
        "declared": row.declared,
        "paused_reason": row.paused_reason,
        "last_run": row.last_run_id,
        **{name: None if moment is None else moment.isoformat() for name, moment in moments.items()},
    }


# --- one schedule ----------------------------------------------------------------------------------------------------


def _show(console: Console, handle: schedules.ScheduleHandle, _options: argparse.Namespace) -> int:
    row, now = handle.row, inspection.now()
    for label, value in (
        ("workflow", row.workflow),
        ("when", _when(row)),
        ("state", _state(console, row, now)),
        ("overlap", row.overlap),
        ("catch-up", row.catchup),
        ("declared", "in the code" if row.declared else "no"),
    ):
        console.line(f"{label:<10} {value}")
    for tick in reversed(row.ticks.order_by("-at")[:10]):
        what = f"run {tick.run_id}" if tick.run_id else clean(tick.skipped) or "waits for an earlier run to end"
        console.line(f"  {show_moment(tick.at)}  {what}")
    return 0


def _pause(console: Console, handle: schedules.ScheduleHandle, options: argparse.Namespace) -> int:
    handle.pause(reason=options.reason or "")
    console.line(f"{clean(handle.name)} is paused; ticks that come meanwhile are not made up.")
    return 0


def _resume(console: Console, handle: schedules.ScheduleHandle, _options: argparse.Namespace) -> int:
    handle.resume()
    console.line(f"{clean(handle.name)} goes on; next {show_moment(handle.next_at)}.")
    return 0


def _trigger(console: Console, handle: schedules.ScheduleHandle, _options: argparse.Namespace) -> int:
    console.line(handle.trigger().id)
    return 0


def _preview(console: Console, handle: schedules.ScheduleHandle, options: argparse.Namespace) -> int:
    for moment in handle.preview(options.count):
        console.line(show_moment(moment))
    return 0


def _backfill(console: Console, handle: schedules.ScheduleHandle, options: argparse.Namespace) -> int:
    if options.since is None or options.until is None:
        raise CommandError("backfill takes two moments: workflows schedule backfill NAME SINCE UNTIL.")
    try:
        runs = handle.backfill(_moment(options.since), _moment(options.until))
    except ValueError as error:
        raise CommandError(str(error)) from None
    console.line(f"{len(runs)} {'run' if len(runs) == 1 else 'runs'} made.")
    return 0


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is no ISO 8601 moment, such as 2026-11-01T00:00+01:00.") from None
    if moment.utcoffset() is None:
        raise CommandError(f"{text!r} says no zone; write 2026-11-01T00:00+01:00 or 2026-10-31T23:00Z.")
    return moment


_VERBS: dict[str, Callable[[Console, schedules.ScheduleHandle, argparse.Namespace], int]] = {
    "show": _show,
    "pause": _pause,
    "resume": _resume,
    "trigger": _trigger,
    "preview": _preview,
    "backfill": _backfill,
}


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("verb", choices=sorted(_VERBS))
    parser.add_argument("name", metavar="NAME", help="the schedule's name")
    parser.add_argument("since", nargs="?", metavar="SINCE", help="backfill: the first moment, ISO 8601 with its zone")
    parser.add_argument("until", nargs="?", metavar="UNTIL", help="backfill: the moment before which it ends")
    parser.add_argument("--reason", help="pause: why")
    parser.add_argument("--count", type=positive, default=10, metavar="N", help="preview: how many (default: 10)")


def _run(console: Console, options: argparse.Namespace) -> int:
    return _VERBS[options.verb](console, schedules.get_schedule(options.name), options)


listing = Subcommand("schedules", "List schedules and when they fire next.", _list_arguments, _list)
one = Subcommand("schedule", "Show, pause, resume, trigger, preview or backfill a schedule.", _arguments, _run)
