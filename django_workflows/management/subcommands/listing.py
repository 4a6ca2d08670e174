"""``workflows list``."""

from __future__ import annotations

import argparse
import json
from datetime import timedelta
from typing import Any

from django_workflows.api import inspection
from django_workflows.eventlog.statuses import RunStatus
from django_workflows.inspection.run_filter import RunFilter, workflows_called
from django_workflows.inspection.text import format_span
from django_workflows.models import Run
from django_workflows.models.querysets import RunQuerySet
from django_workflows.values.text import truncate

from ..console import Console
from ..values import clean, show_moment
from .show import STATUS_COLOURS
from .subcommand import Subcommand, attribute, positive, seconds


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--status", action="append", choices=[s.value for s in RunStatus], help="repeat it for several")
    parser.add_argument("--workflow", metavar="NAME", help="the workflow's full name, or its end")
    parser.add_argument("--queue", metavar="Q")
    parser.add_argument(
        "--attribute", action="append", type=attribute, default=[], metavar="K=V", help="repeat it: all must hold"
    )
    parser.add_argument("--since", type=seconds, metavar="AGE", help="created in the last 90 seconds, 5m, 7d …")
    parser.add_argument("--blocked", action="store_true", help="only runs that are parked")
    parser.add_argument("--limit", type=positive, default=20, metavar="N", help="newest first (default: 20)")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


def _run(console: Console, options: argparse.Namespace) -> int:
    runs = list(_chosen(options).order_by("-created_at", "-id")[: options.limit])
    if options.json:
        for run in runs:
            console.line(json.dumps(_as_json(run)))
        return 0
    now = inspection.now()
    width = min(40, max([8, *(len(run.workflow) for run in runs)]))
    for run in runs:
        status = console.paint(f"{'blocked' if run.blocked_reason else run.status:<10}", _colour(run))
        age = format_span((run.completed_at or now) - run.created_at)
        name = truncate(clean(run.workflow), width)
        console.line(f"{run.id:<31}  {status} {name:<{width}} {show_moment(run.created_at)} {age:>10}")
    if not runs:
        console.line("No runs.")
    return 0


def _colour(run: Run) -> str:
    return "bad" if run.blocked_reason else STATUS_COLOURS[run.status]


def _chosen(options: argparse.Namespace) -> RunQuerySet:
    if options.workflow and not workflows_called(options.workflow):
        return Run.objects.none()
    return RunFilter(
        statuses=options.status or (),
        workflows=workflows_called(options.workflow) if options.workflow else (),
        queues=[options.queue] if options.queue else (),
        attributes=dict(options.attribute),
        since=None if options.since is None else inspection.now() - timedelta(seconds=options.since),
        blocked=options.blocked,
    ).runs()


def _as_json(run: Run) -> dict[str, Any]:
    moments = {name: getattr(run, name) for name in ("created_at", "started_at", "completed_at", "wake_at")}
    return {
        "id": run.id,
        "workflow": run.workflow,
        "queue": run.queue,
        "status": run.status,
        "error_code": run.error_code,
        "attributes": run.attributes,
        "blocked_reason": run.blocked_reason,
        **{name: None if moment is None else moment.isoformat() for name, moment in moments.items()},
    }


subcommand = Subcommand("list", "List runs, newest first.", _add_arguments, _run)
