"""``workflows cancel``, ``resume``, ``wake`` and ``retry``: one line of ``api`` each."""

from __future__ import annotations

import argparse

from django_workflows import api

from ..console import Console
from .subcommand import Subcommand, parse_json


def _takes_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_id", metavar="RUN", help="the run's id")


def _cancel_arguments(parser: argparse.ArgumentParser) -> None:
    _takes_run(parser)
    parser.add_argument("--reason", help="why: it is kept in the log")
    parser.add_argument("--force", action="store_true", help="end the run at once, without its cleanup")


def _cancel(console: Console, options: argparse.Namespace) -> int:
    api.cancel_run(options.run_id, options.reason, force=options.force)
    console.line(f"{options.run_id} is {api.get_run(options.run_id).status()}; it was asked to end.")
    return 0


def _resume_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("token", metavar="TOKEN", help="the hook's token")
    parser.add_argument("payload", metavar="JSON", nargs="?", default="null", help="what the body receives")
    parser.add_argument("--idempotency-key", help="deliver it once only, however often this is called")


def _resume(console: Console, options: argparse.Namespace) -> int:
    payload = parse_json(options.payload, "The payload is")
    event = api.resume_hook(options.token, payload, idempotency_key=options.idempotency_key)
    console.line(f"{event.run_id} received it as event {event.sequence}.")
    return 0


def _wake_arguments(parser: argparse.ArgumentParser) -> None:
    _takes_run(parser)
    parser.add_argument("correlation_id", metavar="WAIT", nargs="?", help="only the wait with this correlation id")


def _wake(console: Console, options: argparse.Namespace) -> int:
    count = api.wake_run(options.run_id, options.correlation_id)
    console.line(f"{count} {'wait' if count == 1 else 'waits'} ended." if count else "No wait was open.")
    return 0


def _retry(console: Console, options: argparse.Namespace) -> int:
    api.retry_run(options.run_id)
    console.line(f"{options.run_id} continues from its failed step.")
    return 0


cancel = Subcommand("cancel", "Ask a run to end; it may clean up first.", _cancel_arguments, _cancel)
resume = Subcommand("resume", "Deliver a payload to the hook with this token.", _resume_arguments, _resume)
wake = Subcommand("wake", "End a run's sleeps now.", _wake_arguments, _wake)
retry = Subcommand("retry", "Continue a failed run from its failed step.", _takes_run, _retry)
