"""``workflows fork``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from django.core.management.base import CommandError

from django_workflows import api
from django_workflows.api.recovery import Effect

from ..console import Console
from ..values import clean
from .subcommand import Subcommand, parse_json


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_id", metavar="RUN", help="the run to fork")
    parser.add_argument(
        "--from", dest="from_step", metavar="STEP", help="correlation id of the first step that is done (again)"
    )
    parser.add_argument("--input", metavar="JSON", help='other arguments: […], or {"args": […], "kwargs": {…}}')
    parser.add_argument(
        "--plan", action="store_true", help="only say what would be taken over and what would run again"
    )


def _run(console: Console, options: argparse.Namespace) -> int:
    input = None if options.input is None else parse_json(options.input, "The input is")
    try:
        plan = api.plan_fork(options.run_id, options.from_step, input)
        _show(console, "taken over", plan.kept)
        _show(console, "would run again" if options.plan else "runs again", plan.again)
        if not options.plan:
            fork = api.fork_run(options.run_id, options.from_step, input)
            console.line(fork.id)
    except TypeError as error:
        raise CommandError(str(error)) from error
    return 0


def _show(console: Console, what: str, effects: Sequence[Effect]) -> None:
    for effect in effects:
        console.line(f"{what:<16} {effect.kind:<6} {clean(effect.correlation_id)}  {clean(effect.name)}")


subcommand = Subcommand(
    "fork",
    "Start a new run that takes over what another had done before a step.",
    _add_arguments,
    _run,
    details="Steps that run again do so under new ids: idempotency keys made of those do not protect what they do.",
)
