"""``workflows doctor``."""

from __future__ import annotations

import argparse
import json

from django_workflows.diagnosis import Finding, Scene, Severity, diagnose, look_around
from django_workflows.registry import workflow_names

from ..console import Console
from ..values import clean, show_span
from .subcommand import Subcommand

_COLOURS = {Severity.ERROR: "bad", Severity.WARNING: "busy", Severity.INFO: "faint"}


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object per finding, and nothing else")


def _run(console: Console, options: argparse.Namespace) -> int:
    findings = diagnose()
    if options.json:
        for finding in findings:
            console.line(json.dumps(_as_json(finding)))
    else:
        _show_workers(console, look_around())
        _show_findings(console, findings)
    return 1 if any(finding.wrong for finding in findings) else 0


def _show_workers(console: Console, scene: Scene) -> None:
    for worker in scene.live:
        queues = ", ".join(worker.queues) or "all queues"
        console.line(
            f"worker {worker}  {queues}, {worker.load} of {worker.concurrency} steps in hand, "
            f"up {show_span(scene.now - worker.started_at)}, heard of {show_span(scene.now - worker.heartbeat_at)} ago"
        )
    if not scene.live:
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
        console.line(console.paint("Nothing stands still.", "good"))


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
    "Say what stands still, and why; exit 1 if something is wrong.",
    _add_arguments,
    _run,
    details="Lists the live workers and the workflows that this code knows, then what is wrong and what to do.",
)
