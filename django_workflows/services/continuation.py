"""``continue_as_new``: a run ends and hands over to a new one with fresh arguments and an empty log."""

from __future__ import annotations

from ..commands import CompleteRun, ContinueAsNew
from ..models import Run
from ..serialization import dumps
from . import database, runs
from .creation import create_runs
from .runs import NewRun
from .transition import Transition


def continue_as_new(transition: Transition, command: ContinueAsNew) -> None:
    """Create the successor and complete this run with its id as output: ``{"continued_as": "wrun_…"}``.

    After a cancel request or past its deadline the run ends as that says, and there is no successor.
    """
    run = transition.run
    if run.cancel_requested_at is not None or run.timed_out_at is not None:
        runs.end_run(transition, CompleteRun("", output=dumps(None)))
        return
    row = Run.objects.using(database.alias()).only("queue", "deadline_at").get(pk=run.id)
    successor = NewRun(
        workflow=run.workflow,
        input=command.input,
        queue=row.queue,
        priority=run.priority,
        attributes=run.attributes,
        continued_from=run.id,
        timeout=None if run.deadline_at is None else run.deadline_at - (run.started_at or run.created_at),
    )
    create_runs([successor])
    runs.end_run(transition, CompleteRun("", output=dumps({"continued_as": successor.id})))
    transition.ring_work = True
