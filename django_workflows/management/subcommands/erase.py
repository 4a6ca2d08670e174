"""``workflows erase``."""

from __future__ import annotations

import argparse

from django_workflows import api
from django_workflows.inspection.run_filter import RunFilter

from ..console import Console
from .subcommand import Subcommand, attribute


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--attribute",
        action="append",
        type=attribute,
        required=True,
        metavar="K=V",
        help="of the runs to erase; repeat it: all must hold",
    )
    parser.add_argument("--dry-run", action="store_true", help="only list the runs that carry the attributes")


def _run(console: Console, options: argparse.Namespace) -> int:
    attributes = dict(options.attribute)
    if options.dry_run:
        rows = RunFilter(attributes=attributes).runs()
        for run in rows.only("status").order_by("pk"):
            console.line(f"{run.id} {run.status}")
        return 0
    found = api.erase_runs(attributes)
    console.line(f"{len(found.erased)} {'run' if len(found.erased) == 1 else 'runs'} erased.")
    for run_id in found.active:
        console.line(console.paint(f"{run_id} was left: it, or a run that it started, has not ended.", "busy"))
    return 1 if found.active else 0


subcommand = Subcommand(
    "erase",
    "Erase the payloads of ended runs that carry an attribute; their logs keep their shape.",
    _add_arguments,
    _run,
    details="Runs that they started are included. Exit 1 if some have not ended yet and were left: call it again then.",
)
