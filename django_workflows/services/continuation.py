"""``continue_as_new``: a run ends and hands over to a new one with fresh arguments and an empty log."""

from __future__ import annotations

from datetime import timedelta

from ..eventlog import events
from ..eventlog.commands import CompleteRun, ContinueAsNew
from ..serialization import dumps
from ..store.event_log import find_last
from ..store.transition import Transition
from . import runs
from .contexts import inherited_context
from .creation import NewRun, create_runs


def continue_as_new(transition: Transition, command: ContinueAsNew) -> None:
    """Create the successor and complete this run with its id as output: ``{"continued_as": "wrun_…"}``.

    The successor takes over queue, priority, attributes, timeout and, in the eyes of a parent that waits for this run,
    its place as the child: the last one's end is the child's end. After a cancel request or past its deadline the run
    ends as that says, and there is no successor.
    """
    run = transition.run
    if run.cancel_requested_at is not None or run.timed_out_at is not None:
        runs.end_run(transition, CompleteRun("", output=dumps(None)))
        return
    successor = NewRun(
        workflow=run.workflow,
        input=command.input,
        queue=run.queue,
        priority=run.priority,
        attributes=run.attributes,
        continued_from=run.id,
        timeout=allowed_time(transition),
        parent_id=run.parent_id,
        parent_correlation_id=run.parent_correlation_id,
        detached=run.detached,
        context=inherited_context(run.id),
    )
    create_runs([successor])
    run.parent_id = None  # in this transition only: the parent is not told of this end
    runs.end_run(transition, CompleteRun("", output=dumps({"continued_as": successor.id})))
    transition.wake.add(successor.id)


def allowed_time(transition: Transition) -> timedelta | None:
    """The run's timeout: what lies between its deadline and the beginning of its life; None without a deadline."""
    run = transition.run
    if run.deadline_at is None:
        return None
    retried = find_last(run.id, events.RunRetried.type) if run.life else None
    return run.deadline_at - (retried.created_at if retried else run.created_at)
