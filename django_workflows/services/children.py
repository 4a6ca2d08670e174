"""A body starts a run of its own: the child is inserted in the transaction that records the decision.

How the child ended reaches the parent through the outbox, as an event of the parent's log.
"""

from __future__ import annotations

from collections.abc import Collection

from ..authoring.registry import find_workflow
from ..eventlog import events
from ..eventlog.commands import StartChild
from ..models import Run
from ..store.event_log import append
from ..store.transition import Transition
from . import steps
from .contexts import inherited_context
from .creation import create_runs
from .start_options import new_run


def start_child(transition: Transition, command: StartChild) -> None:
    """Create the child run and record ``child_started``. The child's id was chosen when the body decided."""
    create_runs(
        [
            new_run(
                command.workflow,
                find_workflow(command.workflow),
                command.input,
                command.options,
                queue=transition.run.queue,
                id=command.child,
                parent_id=transition.run.id,
                parent_correlation_id=command.correlation_id,
                context=inherited_context(transition.run.id),
            )
        ]
    )
    args, kwargs = steps.split_input(command.input)
    append(transition, events.ChildStarted(command.workflow, command.child, args, kwargs), command.correlation_id)
    transition.wake.add(command.child)


def current_children(parent_id: str, correlation_ids: Collection[str]) -> dict[str, Run]:
    """The children that these decisions of a parent started, by correlation id: of those that continued as new, the
    run that is the child by now. Pruned ones are left out."""
    rows = Run.objects.filter(parent_id=parent_id, parent_correlation_id__in=correlation_ids)
    return {run.parent_correlation_id: run for run in rows.only("status", "parent_correlation_id").order_by("pk")}
