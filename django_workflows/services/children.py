"""A body starts a run of its own: the child is inserted in the transaction that records the decision.

How the child ended reaches the parent through the outbox, as an event of the parent's log.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from .. import conf
from ..authoring.definitions import Workflow
from ..authoring.registry import find_workflow
from ..eventlog import events
from ..eventlog.commands import StartChild
from ..models import Run
from ..store.event_log import append
from ..store.transition import Transition
from ..values.durations import parse
from . import steps
from .creation import create_runs
from .runs import NewRun


def start_child(transition: Transition, command: StartChild) -> None:
    """Create the child run and record ``child_started``. The child's id was chosen when the body decided."""
    create_runs([_new_run(transition, command)])
    args, kwargs = steps.split_input(command.input)
    append(transition, events.ChildStarted(command.workflow, command.child, args, kwargs), command.correlation_id)
    transition.wake.add(command.child)


def _new_run(transition: Transition, command: StartChild) -> NewRun:
    options, definition = command.options, find_workflow(command.workflow)
    timeout = options.get("timeout", definition.timeout if definition else None)
    attributes = dict(options.get("attributes") or {})
    if (about := options.get("about")) is not None:
        attributes.update(about_attributes(about))
    return NewRun(
        id=command.child,
        workflow=command.workflow,
        input=command.input,
        queue=options.get("queue") or (queue_for(definition) if definition else transition.run.queue),
        priority=options.get("priority") or 0,
        attributes=attributes,
        run_after=delay(options.get("run_after")),
        timeout=None if timeout is None else parse(timeout),
        parent_id=transition.run.id,
        parent_correlation_id=command.correlation_id,
        detached=bool(options.get("detached")),
    )


def current_children(parent_id: str, correlation_ids: Collection[str]) -> dict[str, Run]:
    """The children that these decisions of a parent started, by correlation id: of those that continued as new, the
    run that is the child by now. Pruned ones are left out."""
    rows = Run.objects.filter(parent_id=parent_id, parent_correlation_id__in=correlation_ids)
    return {run.parent_correlation_id: run for run in rows.only("status", "parent_correlation_id").order_by("pk")}


# --- what start options mean -----------------------------------------------------------------------------------------


def queue_for(workflow: Workflow[..., Any]) -> str:
    """The workflow's own queue; ``DEFAULT_QUEUE`` stands in for ``"default"``."""
    return str(conf.settings.DEFAULT_QUEUE) if workflow.queue == "default" else workflow.queue


def delay(run_after: Any) -> timedelta | datetime | None:
    """A start's delay, relative to the commit; a moment stays one."""
    return run_after if run_after is None or isinstance(run_after, datetime) else parse(run_after)


def about_attributes(about: Any) -> dict[str, str]:
    """Model instances as attributes, for "runs about this object": ``{"shop.order": "5"}``."""
    found = {}
    for instance in about if isinstance(about, list | tuple) else [about]:
        if getattr(instance, "pk", None) is None:
            raise ValueError(f"about= takes saved model instances, not {instance!r}.")
        found[instance._meta.label_lower] = str(instance.pk)
    return found
