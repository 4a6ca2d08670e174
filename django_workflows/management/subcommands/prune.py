"""``workflows prune``."""

from __future__ import annotations

import argparse

from django_workflows.services import retention

from ..console import Console
from .subcommand import Subcommand, no_arguments


def _run(console: Console, options: argparse.Namespace) -> int:
    total = 0
    while count := retention.prune(limit=1000):
        total += count
    console.line(
        f"{total} {'run' if total == 1 else 'runs'} removed." if total else "No ended run has outlived its retention."
    )
    return 0


subcommand = Subcommand(
    "prune",
    "Remove ended runs whose retention is over.",
    no_arguments,
    _run,
    details="Workers do so once a minute, too. How long runs are kept: @workflow(retention=…), the setting RETENTION.",
)
