"""``workflows doctor``."""

from __future__ import annotations

import argparse
import json

from django.core.management.base import CommandError

from django_workflows import api
from django_workflows.api import inspection, recovery
from django_workflows.api.inspection import Finding, Severity, Snapshot
from django_workflows.authoring.registry import workflow_names
from django_workflows.exceptions import WorkflowError
from django_workflows.inspection.text import format_span

from ..console import Console
from ..values import clean
from .subcommand import Subcommand

_COLOURS = {Severity.ERROR: "bad", Severity.WARNING: "busy", Severity.INFO: "faint"}


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object per finding, and nothing else")
    parser.add_argument(
        "--repair", action="store_true", help="first make the tables say what the logs say, where they do not"
    )
    parser.add_argument("run_ids", metavar="RUN", nargs="*", help="with --repair: only these runs (default: all)")


def _run(console: Console, options: argparse.Namespace) -> int:
    if options.run_ids and not options.repair:
        raise CommandError("Runs are named for --repair only. `workflows show RUN` says what one waits for.")
    if options.repair:
        _repair(console, options.run_ids or None)
    findings = api.diagnose()
    if options.json:
        for finding in findings:
            console.line(json.dumps(_as_json(finding)))
    else:
        _show_workers(console, inspection.take_snapshot())
        _show_findings(console, findings)
    return 1 if any(finding.wrong for finding in findings) else 0


def _repair(console: Console, run_ids: list[str] | None) -> None:
    """Repair every run of which the validator says that its tables do not fit its log."""
    suspects = recovery.find_damaged(run_ids)
    for run_id in suspects:
        try:
            done = api.repair_run(run_id)
        except WorkflowError as error:
            console.line(console.paint(f"{run_id} cannot be repaired: {error.code}: {error}", "bad"))
            continue
        for sentence in done or ["nothing that could be repaired was found"]:
            console.line(f"{run_id} {clean(sentence)}")
    if not suspects:
        console.line("No run needs repair.")


def _show_workers(console: Console, snapshot: Snapshot) -> None:
    for worker in snapshot.live:
        queues = ", ".join(worker.queues) or "all queues"
        up, silent = format_span(snapshot.now - worker.started_at), format_span(snapshot.now - worker.heartbeat_at)
        console.line(
            f"worker {worker}  {queues}, {worker.load} of {worker.concurrency} steps running, "
            f"up {up}, last heard from {silent} ago"
        )
    if not snapshot.live:
        console.line("no worker is alive")
    names = workflow_names()
    console.line(f"{len(names)} workflows known here: {', '.join(names)}" if names else "no workflow is known here")


def _show_findings(console: Console, findings: list[Finding]) -> None:
    for finding in findings:
        console.line()
        head = console.paint(f"{finding.severity} {finding.code}", _COLOURS[finding.severity])
        console.line(f"{head}  {clean(finding.sentence)}")
        console.line(f"  {finding.advice}")
        if len(finding.run_ids) > 1 or (finding.run_ids and finding.run_ids[0] not in finding.sentence):
            console.line(console.paint(f"  {' '.join(finding.run_ids)}", "faint"))
    if not any(finding.wrong for finding in findings):
        console.line(console.paint("Nothing is stalled.", "good"))


def _as_json(finding: Finding) -> dict[str, object]:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "sentence": finding.sentence,
        "advice": finding.advice,
        "run_ids": list(finding.run_ids),
    }


subcommand = Subcommand(
    "doctor",
    "Say what is stalled, and why; exit 1 if something is wrong.",
    _add_arguments,
    _run,
    details="Lists the live workers and the workflows that this code knows, then what is wrong and what to do.",
)
