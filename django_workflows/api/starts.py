"""Starting runs: one, many at once, or by a workflow's name. An argument's way: here, ``services.creation``, the row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asgiref.sync import sync_to_async

from ..authoring.handles import RunHandle
from ..authoring.options import StartOptions
from ..authoring.registry import find_workflow
from ..authoring.workflows import Workflow
from ..exceptions import WorkflowError
from ..serialization import dumps
from ..services import creation
from ..services.contexts import capture_context
from ..services.creation import NewRun
from ..services.idempotency import caller_of
from ..services.start_options import new_run


def _new_run(
    workflow: Workflow[..., Any], options: StartOptions, args: Sequence[Any], kwargs: Mapping[str, Any], **origin: Any
) -> NewRun:
    input = dumps({"args": list(args), "kwargs": dict(kwargs)})
    return new_run(workflow.name, workflow, input, options.given(), **origin)


def start(
    workflow: Workflow[..., Any], options: StartOptions, args: Sequence[Any], kwargs: dict[str, Any]
) -> RunHandle[Any]:
    """Start one run. With an idempotency key that is taken, the existing run is returned.

    Raises:
        SerializationError: an argument cannot be encoded. PayloadTooLargeError: the arguments are too large.
        EntityConflictError: the idempotency key belongs to a run with other arguments.
    """
    return start_or_get(workflow, options, args, kwargs)[0]


def start_or_get(
    workflow: Workflow[..., Any],
    options: StartOptions,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    *,
    caller: str | None = None,
) -> tuple[RunHandle[Any], bool]:
    """As :func:`start`, and whether the run is new: False where the idempotency key named one that was there.

    ``caller``: of whom the key is one of their own, for doors with many users. It finds runs of this caller, and those
    that the project's own code has started; EntityConflictError where it is another caller's.
    """
    new = _new_run(workflow, options, args, kwargs, caller=caller, context=capture_context())
    (run_id,) = creation.create_runs([new], notify=True)
    return RunHandle(run_id), run_id == new.id


def is_key_of(run_id: str, caller: str) -> bool:
    """Whether this caller, and not the project's own code, started the run with an idempotency key."""
    return caller_of(creation.first_event(run_id)) == caller


def start_many(
    workflow: Workflow[..., Any], options: StartOptions, calls: Sequence[tuple[Sequence[Any], Mapping[str, Any]]]
) -> list[RunHandle[Any]]:
    """Start many runs in one transaction with bulk inserts. ``calls``: (args, kwargs) pairs. All or nothing."""
    context = capture_context()
    new = [_new_run(workflow, options, args, kwargs, context=context) for args, kwargs in calls]
    return [RunHandle(run_id) for run_id in creation.create_runs(new, notify=True)] if new else []


def start_by_name(
    name: str, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None, **options: Any
) -> RunHandle[Any]:
    """Start a run of the workflow called ``name``; ``options`` are those of ``.using()``.

    Raises:
        WorkflowError: no workflow has this name. TypeError: the arguments do not fit its signature.
    """
    workflow = find_workflow(name)
    if workflow is None:
        raise WorkflowError(f"No workflow is called {name!r}. `workflows doctor` lists the names that are known here.")
    bound = workflow.using(**options) if options else workflow
    handle: RunHandle[Any] = bound.start(*args, **(kwargs or {}))
    return handle


astart_by_name = sync_to_async(start_by_name)
