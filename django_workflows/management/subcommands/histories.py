"""``workflows export``, ``import`` and ``replay``: runs as JSON, one per line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from django_workflows import api
from django_workflows.api import inspection, recovery
from django_workflows.models import Run

from ..console import Console
from ..values import clean
from .subcommand import Subcommand, seconds


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_ids", metavar="RUN", nargs="*", help="ids of runs (or --since)")
    parser.add_argument(
        "--since", type=seconds, metavar="AGE", help="all runs created in the last 90 seconds, 5m, 7d …"
    )
    parser.add_argument("--workflow", metavar="NAME", help="with --since: of this workflow only")
    parser.add_argument("--output", metavar="FILE", help="where to write (default: standard output)")


def _export(console: Console, options: argparse.Namespace) -> int:
    run_ids = list(options.run_ids)
    if options.since is not None:
        rows = Run.objects.filter(created_at__gte=inspection.now() - timedelta(seconds=options.since))
        if options.workflow:
            rows = rows.filter(workflow=options.workflow)
        run_ids += list(rows.order_by("pk").values_list("pk", flat=True))
    elif not run_ids:
        raise CommandError("Say which runs: their ids, or --since 7d.")
    lines = (recovery.write_history(api.export_run(run_id)) for run_id in dict.fromkeys(run_ids))
    if options.output is None:
        for line in lines:
            console.line(line)
        return 0
    count = 0
    with Path(options.output).open("w", encoding="ascii") as file:
        for count, line in enumerate(lines, 1):  # noqa: B007
            file.write(line + "\n")
    console.line(f"{count} {'run' if count == 1 else 'runs'} written to {options.output}.")
    return 0


def _takes_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="as `workflows export` writes them; - is standard input"
    )


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    _takes_files(parser)
    parser.add_argument("--activate", action="store_true", help="runs that have not ended, too: workers continue them")


def _import(console: Console, options: argparse.Namespace) -> int:
    for history in _histories(options.files):
        handle = api.import_history(history, activate=options.activate)
        console.line(f"{handle.id} imported.")
    return 0


def _replay(console: Console, options: argparse.Namespace) -> int:
    count = problems = 0
    for history in _histories(options.files):
        count += 1
        for what in api.replay_history(history):
            problems += 1
            console.line(console.paint(clean(f"{history['id']} {history['run']['workflow']}: {what}"), "bad"))
    if options.verbosity:
        fit = f"{problems} {'does' if problems == 1 else 'do'} not fit the code." if problems else "all fit the code."
        console.line(f"{count} {'history' if count == 1 else 'histories'} replayed: {fit}")
    return 1 if problems else 0


def _histories(files: list[str]) -> Iterator[dict[str, Any]]:
    for name in files:
        try:
            with _open(name) as lines:
                yield from recovery.read_histories(lines)
        except (OSError, ValueError) as error:
            raise CommandError(f"{name}: {error}") from error


@contextmanager
def _open(name: str) -> Iterator[Any]:
    if name == "-":
        yield sys.stdin
    else:
        with Path(name).open(encoding="utf-8") as file:
            yield file


export = Subcommand(
    "export",
    "Write runs as JSON, one per line.",
    _export_arguments,
    _export,
    details="A history contains arguments, results, tokens and seeds: treat it like a copy of the database.",
)
import_ = Subcommand("import", "Store exported runs in this database.", _import_arguments, _import)
replay = Subcommand(
    "replay",
    "Replay exported runs with this code; exit 1 if one does not fit.",
    _takes_files,
    _replay,
    details="For CI: needs no database. `workflows verify --replay --since 7d` does so with the runs of a database.",
)
