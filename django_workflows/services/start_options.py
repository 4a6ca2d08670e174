"""What the options of a start come to: the queue, delay, timeout and attributes of the run that is created."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from .. import conf
from ..authoring.workflows import Workflow
from ..serialization import Encoded
from ..values.durations import Duration, parse
from ..values.validation import check_limit
from .creation import NewRun


def new_run(
    workflow: str,
    definition: Workflow[..., Any] | None,
    input: Encoded,
    options: Mapping[str, Any],
    *,
    queue: str = "default",
    **origin: Any,
) -> NewRun:
    """The run that ``options``, as ``StartOptions.given()`` has them, ask for; what they leave open the workflow says.

    ``input``: encoded ``{"args": […], "kwargs": {…}}``. ``definition``: None where this process does not know the
    workflow; ``queue`` is then the run's queue. ``origin``: the fields of :class:`NewRun` that say where it comes from.

    Raises:
        PayloadTooLargeError: ``input`` is larger than ``MAX_PAYLOAD_BYTES``. ValueError: ``about`` is not saved.
    """
    timeout = options.get("timeout")
    if timeout is None and definition is not None:
        timeout = definition.timeout
    attributes = dict(options.get("attributes") or ())
    if (about := options.get("about")) is not None:
        attributes.update(about_attributes(about))
    return NewRun(
        workflow=workflow,
        input=input,
        queue=options.get("queue") or (queue if definition is None else queue_for(definition)),
        priority=options.get("priority") or 0,
        attributes=attributes,
        idempotency_key=options.get("idempotency_key"),
        run_after=run_after(options.get("run_after")),
        timeout=check_limit("timeout", timeout),
        detached=bool(options.get("detached")),
        **origin,
    )


def queue_for(workflow: Workflow[..., Any]) -> str:
    """The workflow's own queue; ``DEFAULT_QUEUE`` stands in for ``"default"``."""
    return str(conf.settings.DEFAULT_QUEUE) if workflow.queue == "default" else workflow.queue


def run_after(value: Duration | datetime | None) -> timedelta | datetime | None:
    """A start's delay as a span that counts from the commit, or as the aware moment that was given."""
    return value if value is None or isinstance(value, datetime) else parse(value)


def about_attributes(about: Any) -> dict[str, str]:
    """Model instances, one or a list, as attributes, for "runs about this object": ``{"shop.order": "5"}``.

    Raises:
        ValueError: an instance has no primary key yet.
    """
    found = {}
    for instance in about if isinstance(about, list | tuple) else [about]:
        if getattr(instance, "pk", None) is None:
            raise ValueError(f"about= takes saved model instances, not {instance!r}.")
        found[instance._meta.label_lower] = str(instance.pk)
    return found
