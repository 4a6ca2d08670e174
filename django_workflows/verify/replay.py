"""Rule 7: replaying a log makes the same decisions, wherever one cuts it.

A *cut* after event k stands for a worker that has written everything up to k: its decisions are taken there, and the
rest of the log is delivered to it record by record, as to a body that was kept. Every cut begins with a cold replay.
The engine itself compares decision by decision; here is only seen to it that it is asked everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from ..authoring.registry import find_workflow
from ..authoring.workflows import Workflow
from ..engine import Execution
from ..recovery.replay_log import WHOLE, execution_settings, places_of, replay_log
from .violation import Subject, Violation


def check_replay(subject: Subject, *, everywhere: bool = False) -> Iterator[Violation]:
    """Replay a run cold and as live, with ``everywhere`` from every cut; not one that is blocked or unknown here."""
    run = subject.run
    workflow = find_workflow(run.workflow)
    if workflow is None or run.blocked_reason or not subject.events or subject.was_erased:
        return
    places = places_of(subject.records) if everywhere else [WHOLE, 1]
    found = replay_log(workflow, run.id, subject.records, places, ended=subject.ended)
    for what in found:
        yield subject.violation(7, what)
    if not found and _has_forgotten_decisions(subject, workflow):
        yield subject.violation(8, "the body has decided more than its log holds, and nothing would wake the run")


def _has_forgotten_decisions(subject: Subject, workflow: Workflow[..., object]) -> bool:
    """Of a live run: whether the next advance has something to write although the run is not due."""
    run = subject.run
    due = run.wake_at is not None and run.wake_at <= subject.now + timedelta(seconds=1)
    if subject.ended or due or run.status != "running":
        return False
    execution = Execution(workflow, subject.records[0], run_id=run.id, settings=execution_settings())
    try:
        execution.replay(subject.records)
        return bool(execution.take())
    finally:
        execution.close()
