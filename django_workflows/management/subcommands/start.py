"""``workflows start``."""

from __future__ import annotations

import argparse
import json
from typing import Any

from django.core.management.base import CommandError

from django_workflows import api
from django_workflows.authoring.handles import RunHandle
from django_workflows.exceptions import RunCancelledError, RunFailedError

from ..console import Console
from ..log_lines import LogFollower
from ..values import show_value
from .subcommand import Subcommand, parse_json, seconds

#: seconds between two looks at the log while --wait shows it
_LOOK = 0.25


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", help="the workflow's name, as `doctor` and the error messages list them"
    )
    parser.add_argument(
        "arguments", metavar="JSON", nargs="?", default="[]", help='[…] for args, or {"args": […], "kwargs": {…}}'
    )
    parser.add_argument(
        "--wait", action="store_true", help="show what happens, then the result; exit 1 if the run fails"
    )
    parser.add_argument("--queue", help="the queue in which it waits for a worker")
    parser.add_argument("--idempotency-key", help="start it once only: the same key gives the same run")
    parser.add_argument("--priority", type=int, help="higher is earlier (default: 0)")
    parser.add_argument(
        "--run-after", type=seconds, metavar="DELAY", help="not before this delay has passed: 90, 5m, 1h"
    )
    parser.add_argument("--timeout", type=seconds, metavar="TIME", help="fail if it has not ended by then: 90, 5m, 1h")


def _run(console: Console, options: argparse.Namespace) -> int:
    args, kwargs = _split(parse_json(options.arguments, "The arguments are"))
    names = ("queue", "idempotency_key", "priority", "run_after", "timeout")
    using = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    try:
        handle = api.start_by_name(options.name, args, kwargs, **using)
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from error
    if not options.wait:
        console.line(handle.id)
        return 0
    return _follow(console, handle)


def _split(value: Any) -> tuple[list[Any], dict[str, Any]]:
    """``[1, 2]`` or ``{"args": [1], "kwargs": {"x": 2}}``."""
    if isinstance(value, list):
        return value, {}
    if isinstance(value, dict) and set(value) <= {"args", "kwargs"}:
        args, kwargs = value.get("args", []), value.get("kwargs", {})
        if isinstance(args, list) and isinstance(kwargs, dict):
            return args, kwargs
    raise CommandError(
        'The arguments are a list, [1, "a"], or an object, {"args": [1], "kwargs": {"b": 2}}; '
        f"not {json.dumps(value)[:60]}."
    )


def _follow(console: Console, handle: RunHandle[Any]) -> int:
    """Print the log as it grows, then how the run ended."""
    console.line(console.paint(handle.id, "title"))
    follower, warned = LogFollower(console, handle.id), False
    try:
        while True:
            try:
                output = handle.result(timeout=_LOOK)
            except TimeoutError:
                follower.show_new()
                warned = warned or _warn_without_worker(console, handle.id)
                continue
            follower.show_new()
            console.line(console.paint("completed", "good") + f"  {show_value(output, console.width - 12)}")
            return 0
    except (RunFailedError, RunCancelledError) as error:
        follower.show_new()
        console.line(console.paint(str(error), "bad"))
        return 1
    except KeyboardInterrupt:
        console.line(f"The run continues. Look at it with: workflows show {handle.id}")
        return 130


def _warn_without_worker(console: Console, run_id: str) -> bool:
    """Say, once, that no worker is alive that could take the run. True: it was said."""
    for reason in api.explain(run_id):
        if reason.code in ("no_worker", "unknown_code"):
            console.line(console.paint(reason.sentence, "busy"))
            return True
    return False


subcommand = Subcommand("start", "Start a run.", _add_arguments, _run, details="Prints the run's id.")
