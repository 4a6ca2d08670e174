"""``workflows show``."""

from __future__ import annotations

import argparse
from typing import Any

from django_workflows.api import inspection
from django_workflows.exceptions import RunNotFoundError
from django_workflows.inspection.text import format_span
from django_workflows.models import Event, Run

from ..console import Console
from ..drawing import draw
from ..log_lines import log_line
from ..timeline import build_timeline
from ..values import clean, error_sentence, show_moment, show_value
from .subcommand import Subcommand

STATUS_COLOURS = {"completed": "good", "failed": "bad", "cancelled": "busy", "running": "busy", "pending": "faint"}


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_id", metavar="RUN", help="the run's id")
    parser.add_argument("--events", action="store_true", help="print the whole log below the timeline")


def _run(console: Console, options: argparse.Namespace) -> int:
    run = Run.objects.filter(pk=options.run_id).first()
    if run is None:
        raise RunNotFoundError(options.run_id)
    records = [event.record for event in Event.objects.filter(run=run).order_by("sequence")]
    show_run(console, run, records)
    if options.events:
        console.line()
        for record in records:
            console.line(f"{record.sequence:>5} {log_line(console, record, run.created_at)}")
    return 0


def show_run(console: Console, run: Run, records: list[Any]) -> None:
    """The run's facts, its timeline, and how it ended."""
    now = inspection.now()
    console.line(f"{console.paint(run.id, 'title')}  {console.paint(run.status, STATUS_COLOURS[run.status])}")
    for name, value in _facts(console, run):
        console.line(f"  {name:<11} {value}")
    lines = draw(console, build_timeline(records, now=now, ended_at=run.completed_at))
    if lines:
        console.line()
    for line in lines:
        console.line(line)
    for reason in inspection.explain(run.id):
        if reason.code != "blocked":  # said below, with advice
            console.line(f"  {console.paint('why', 'busy'):<11} {clean(reason.sentence)}")
    for line in _ending(console, run):
        console.line(line)


def _facts(console: Console, run: Run) -> list[tuple[str, str]]:
    width = console.width - 14
    end = run.completed_at or inspection.now()
    given = run.input or {}
    facts = [
        ("workflow", clean(run.workflow)),
        ("input", show_value({k: v for k, v in given.items() if v}, width)),
        ("queue", clean(run.queue) + (f", priority {run.priority}" if run.priority else "")),
        (
            "created",
            f"{show_moment(run.created_at)}, {'took' if run.completed_at else 'for'} {format_span(end - run.created_at)}",
        ),
    ]
    if run.attributes:
        facts.append(("attributes", show_value(run.attributes, width)))
    for name, value in (("parent", run.parent_id), ("forked from", run.forked_from), ("continues", run.continued_from)):
        if value:
            facts.append((name, str(value)))
    if run.deadline_at is not None:
        facts.append(("deadline", show_moment(run.deadline_at)))
    if run.wake_at is not None and not run.blocked_reason:
        facts.append(("next look", show_moment(run.wake_at)))
    return facts


def _ending(console: Console, run: Run) -> list[str]:
    if run.blocked_reason:
        advice = "It is tried again until code that fits is back: `workflows doctor` says more."
        return ["", console.paint("blocked", "bad") + f"  {clean(run.blocked_reason)}", f"         {advice}"]
    if run.status == "completed":
        return ["", console.paint("result", "good") + f"  {show_value(run.output, console.width - 8)}"]
    if run.status == "failed":
        lines = ["", console.paint("failed", "bad") + f"  {run.error_code}: {error_sentence(run.error)}"]
        trace = str((run.error or {}).get("traceback") or "").strip()
        return lines + [f"  {clean(line)}" for line in trace.splitlines()]
    if run.status == "cancelled":
        return ["", console.paint("cancelled", "busy") + f"  {error_sentence(run.error)}".rstrip()]
    return []


subcommand = Subcommand("show", "Draw a run's timeline, with its result or error.", _add_arguments, _run)
