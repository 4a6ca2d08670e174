"""``workflows prune``."""

from __future__ import annotations

import argparse
from datetime import timedelta

from django_workflows.api import upkeep

from ..console import Console
from ..values import clean
from .subcommand import Subcommand, positive, seconds

#: runs that are kept and named one by one
_NAMED = 5


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--older-than", type=seconds, metavar="AGE", help="those that ended longer ago, whatever their retention: 30d"
    )
    parser.add_argument("--workflow", metavar="NAME", help="only runs of this workflow")
    parser.add_argument(
        "--batch", type=positive, default=1000, metavar="N", help="runs per transaction (default: 1000)"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say how many")


def _run(console: Console, options: argparse.Namespace) -> int:
    older_than = None if options.older_than is None else timedelta(seconds=options.older_than)
    if options.dry_run:
        total = upkeep.count_prunable(older_than=older_than, workflow=options.workflow)
        console.line(f"{total} {'run' if total == 1 else 'runs'} would be removed.")
        return 0
    answer = upkeep.prune(older_than=older_than, workflow=options.workflow, batch=options.batch)
    total, kept = answer.removed, answer.kept
    for reason, run_ids in _by_reason(kept).items():
        named = ", ".join(run_ids[:_NAMED]) + (f" and {len(run_ids) - _NAMED} more" if len(run_ids) > _NAMED else "")
        console.line(f"{len(run_ids)} {'run is' if len(run_ids) == 1 else 'runs are'} kept ({named}): {clean(reason)}.")
    if kept and not total:
        return 0
    none = "No ended run has outlived its retention." if older_than is None else "No run ended that long ago."
    console.line(f"{total} {'run' if total == 1 else 'runs'} removed." if total else none)
    return 0


def _by_reason(kept: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for run_id, reason in kept.items():
        found.setdefault(reason, []).append(run_id)
    return found


subcommand = Subcommand(
    "prune",
    "Remove ended runs whose retention is over.",
    _add_arguments,
    _run,
    details="Workers do so once a minute, too. How long runs are kept: @workflow(retention=…), the setting RETENTION.",
)
