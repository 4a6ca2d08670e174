"""``workflows makelock`` and ``check``: see that code fits the runs that are under way before it is deployed."""

from __future__ import annotations

import argparse
from pathlib import Path

from django.core.management.base import CommandError

from django_workflows.api import deploys

from ..console import Console
from .subcommand import Subcommand

_COLOURS = {"error": "bad", "warning": "busy", "info": "faint"}


def _takes_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--file", type=Path, metavar="FILE", help=f"the lock file (default: {deploys.NAME} in BASE_DIR)"
    )


def _make(console: Console, options: argparse.Namespace) -> int:
    path = deploys.write_lock(options.file)
    code = deploys.describe()
    console.line(f"{path} written: {len(code['workflows'])} workflows, {len(code['steps'])} steps.")
    return 0


def _check(console: Console, options: argparse.Namespace) -> int:
    try:
        found = deploys.check_lock(options.file)
    except FileNotFoundError as error:
        raise CommandError(f"{error.filename} does not exist: write it with `workflows makelock`.") from error
    except ValueError as error:
        raise CommandError(str(error)) from error
    for finding in (*found, *deploys.patch_states()):
        console.line(console.paint(f"{finding.severity}: {finding}", _COLOURS[finding.severity]))
    failed = any(finding.severity == "error" for finding in found)
    if not found and options.verbosity:
        console.line("The code fits the lock file.")
    return 1 if failed else 0


makelock = Subcommand(
    "makelock",
    "Write down what the code defines: names, signatures and steps of all workflows.",
    _takes_file,
    _make,
    details="Commit the file with the code, and write it anew with each deploy.",
)
check = Subcommand(
    "check",
    "Compare the code with the lock file; exit 1 if runs under way no longer fit.",
    _takes_file,
    _check,
    details="Run it against the production database before a deploy. It also says which patched() calls can go.",
)
