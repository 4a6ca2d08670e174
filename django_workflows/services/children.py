"""A body starts a run of its own: the child is inserted in the transaction that records the decision."""

from __future__ import annotations

from typing import Any

from .. import events
from ..commands import StartChild
from ..durations import parse
from ..registry import find_workflow
from . import steps
from .creation import create_runs
from .event_log import append
from .runs import NewRun
from .transition import Transition


def start_child(transition: Transition, command: StartChild) -> None:
    """Create the child run and record ``child_started``. The child's id was chosen when the body decided."""
    args, kwargs = steps.split_input(command.input)
    options = command.options
    definition: Any = find_workflow(command.workflow)
    timeout = options.get("timeout", definition.timeout if definition else None)
    run_after = options.get("run_after")
    create_runs(
        [
            NewRun(
                id=command.child,
                workflow=command.workflow,
                input=command.input,
                queue=options.get("queue") or (definition.queue if definition else transition.run.queue),
                priority=options.get("priority") or 0,
                attributes=options.get("attributes") or {},
                idempotency_key=options.get("idempotency_key"),
                run_after=run_after if run_after is None or hasattr(run_after, "tzinfo") else parse(run_after),
                timeout=None if timeout is None else parse(timeout),
                parent_id=transition.run.id,
                parent_correlation_id=command.correlation_id,
                detached=bool(options.get("detached")),
            )
        ]
    )
    append(transition, events.ChildStarted(command.workflow, command.child, args, kwargs), command.correlation_id)
    transition.ring_work = True
