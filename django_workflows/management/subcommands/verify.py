"""``workflows verify``."""

from __future__ import annotations

import argparse
from datetime import timedelta

from django_workflows.api.inspection import blocked_runs, count_unknown, iterate_violations, now
from django_workflows.exceptions import RunNotFoundError
from django_workflows.models import Run

from ..console import Console
from ..values import clean
from .subcommand import Subcommand, seconds


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_ids", metavar="RUN", nargs="*", help="ids of runs (default: all)")
    parser.add_argument(
        "--replay", action="store_true", help="cut each log everywhere, in another process with another hash seed"
    )
    parser.add_argument(
        "--allow-unknown", action="store_true", help="with --replay: pass though the code does not know some workflows"
    )
    parser.add_argument(
        "--since", type=seconds, metavar="AGE", help="only runs created in the last 90 seconds, 5m, 7d …"
    )


def _run(console: Console, options: argparse.Namespace) -> int:
    run_ids = _existing(options.run_ids) if options.run_ids else None
    since = None if options.since is None else timedelta(seconds=options.since)
    count = 0
    for violation in iterate_violations(run_ids, replay=options.replay, since=since):
        console.line(console.paint(clean(str(violation)), "bad"))
        count += 1
    for run in blocked_runs(run_ids):
        console.line(f"{run.id} blocked: {clean(run.blocked_reason)}")
    unknown = count_unknown(run_ids, since)
    for name, number in unknown.items():
        console.line(
            f"{clean(name)} is unknown here: {number} {'run was' if number == 1 else 'runs were'} not replayed. "
            "Was it renamed? @workflow(name=...) keeps the old name."
        )
    if options.verbosity:
        number = len(run_ids) if run_ids is not None else _count(since)
        console.line(
            f"{number} {'run' if number == 1 else 'runs'} verified: "
            + (f"{count} {'violation' if count == 1 else 'violations'}." if count else "every rule holds.")
        )
    return 1 if count or (unknown and options.replay and not options.allow_unknown) else 0


def _existing(run_ids: list[str]) -> list[str]:
    known = set(Run.objects.filter(pk__in=run_ids).values_list("pk", flat=True))
    for run_id in run_ids:
        if run_id not in known:
            raise RunNotFoundError(run_id)
    return list(dict.fromkeys(run_ids))


def _count(since: timedelta | None) -> int:
    runs = Run.objects
    return (runs if since is None else runs.filter(created_at__gte=now() - since)).count()


subcommand = Subcommand(
    "verify",
    "Hold logs and tables to every rule; exit 1 on any violation.",
    _add_arguments,
    _run,
    details="One line per violation. Live runs are held to what they have so far; blocked ones are only listed. "
    "Runs of workflows that the code does not know cannot be replayed: they are counted, and with --replay that is exit 1.",
)
