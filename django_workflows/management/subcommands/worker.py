"""``workflows worker``."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

from django.core.management.base import CommandError
from django.db import connections

from django_workflows import conf
from django_workflows.authoring.registry import step_names, workflow_names

from ..console import Console
from .subcommand import Subcommand, positive, seconds


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--queue", action="append", metavar="Q", help="work on this queue only (repeat it for several)")
    parser.add_argument("--concurrency", type=positive, metavar="N", help="steps that each process runs at a time")
    parser.add_argument("--processes", type=positive, default=1, metavar="N", help="worker processes (default: 1)")
    parser.add_argument("--burst", action="store_true", help="end when nothing is due or claimable")
    parser.add_argument("--reload", action="store_true", help="start anew when the code changes (for development)")
    parser.add_argument(
        "--grace",
        type=seconds,
        default=30.0,
        metavar="S",
        help="seconds that running steps get after SIGTERM (default: 30)",
    )


def _run(console: Console, options: argparse.Namespace) -> int:
    from django_workflows.workers.supervisor import Supervisor, WorkerOptions

    if sys.platform == "win32":
        raise CommandError("A worker needs fork(): run it on Linux, macOS or in WSL.")
    if connections[conf.settings.DATABASE].in_atomic_block:
        raise CommandError(
            "A worker cannot run inside a transaction, such as a TestCase's: its processes would not see what it holds. "
            "In tests use django_workflows.testing, which works in the transaction of the test, or a TransactionTestCase."
        )
    _show_logs(options.verbosity)
    worker_options = WorkerOptions(
        queues=tuple(dict.fromkeys(options.queue)) if options.queue else None,
        concurrency=options.concurrency,
        processes=options.processes,
        burst=options.burst,
        grace=options.grace,
    )
    if options.verbosity:
        console.line(_banner(worker_options.queues, options))
    if options.reload:
        return Supervisor(worker_options, changed=CodeWatcher().changed).run()
    return Supervisor(worker_options).run()


def _banner(queues: tuple[str, ...] | None, options: argparse.Namespace) -> str:
    workflows, steps = len(workflow_names()), len(step_names())
    concurrency = options.concurrency or conf.settings.CONCURRENCY
    processes = f"{options.processes} processes" if options.processes > 1 else "1 process"
    return (
        f"Worker of {', '.join(queues) if queues else 'all queues'}: {processes}, {concurrency} steps at a time each. "
        f"Workflows known: {workflows}, steps: {steps}. Ctrl-C ends it."
    )


def _show_logs(verbosity: int) -> None:
    """Show what the worker logs where the project has not said what to do with it: ends of runs and what went wrong.

    Verbosity 2 adds the ends of steps, 3 everything; 0 leaves it to logging itself, which shows warnings and errors.
    """
    logger = logging.getLogger("django_workflows")
    if logger.hasHandlers() or not verbosity:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbosity > 2 else logging.INFO)
    if verbosity == 2:
        logging.getLogger("django_workflows.step").setLevel(logging.DEBUG)


class CodeWatcher:
    """Says whether a file of a loaded module has changed since it was first asked; looks at most once a second."""

    def __init__(self) -> None:
        self._seen: dict[Path, float] = {}
        self._look_at = 0.0

    def changed(self) -> bool:
        if time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + 1.0
        return bool([path for path in _module_files() if self._is_new(path)])  # each of them is to be seen

    def _is_new(self, path: Path) -> bool:
        try:
            modified = path.stat().st_mtime
        except OSError:
            return False  # being written anew; the next look finds it
        return self._seen.setdefault(path, modified) != modified


def _module_files() -> list[Path]:
    from django.utils.autoreload import iter_all_python_module_files

    own = Path(sys.prefix)  # what is installed, here or in site-packages elsewhere, does not change under development
    return [path for path in iter_all_python_module_files() if own not in path.parents and not _is_installed(path)]


def _is_installed(path: Path) -> bool:
    return any(part.endswith("-packages") for part in path.parts)


subcommand = Subcommand(
    "worker",
    "Advance runs and execute their steps.",
    _add_arguments,
    _run,
    details="SIGTERM and Ctrl-C stop it: nothing new is claimed; running steps get --grace seconds.",
)
