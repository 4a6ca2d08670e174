"""Calling workflows: start runs, look at them, act on them. Every function has an ``a``-twin for async code.

All of it joins the caller's ``transaction.atomic()``: what is done here commits or rolls back with the caller's own writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from asgiref.sync import sync_to_async

from ..authoring.definitions import Workflow
from ..authoring.handles import RunHandle
from ..authoring.registry import find_workflow
from ..authoring.runtime import StartOptions
from ..eventlog.statuses import RunStatus
from ..exceptions import HookNotFoundError, PayloadTooLargeError, RunNotFoundError, SerializationError, WorkflowError
from ..models import Event, Hook, Run
from ..notify import results
from ..recovery import repair
from ..recovery.verbs import afork_run, aplan_fork, aretry_run, fork_run, plan_fork, retry_run
from ..serialization import dumps
from ..services import creation, hooks, runs, waits
from ..services.children import about_attributes, delay, queue_for
from ..services.runs import NewRun
from ..store import database, locking
from ..store.limits import require_size, validate_payload
from ..store.transactions import TRIES, in_transaction
from ..store.transition import Transition
from ..store.write import write
from ..streams import reading
from ..values.durations import parse
from ..webhooks.delivery import aresume_webhook, resume_webhook

__all__ = [
    "acancel_run",
    "adispose_hook",
    "afork_run",
    "aget_hook_by_token",
    "aget_run",
    "aplan_fork",
    "arepair_run",
    "aresume_hook",
    "aresume_webhook",
    "aretry_run",
    "astart_by_name",
    "aunblock_run",
    "awake_run",
    "cancel_run",
    "client",
    "dispose_hook",
    "fork_run",
    "get_hook_by_token",
    "get_run",
    "plan_fork",
    "repair_run",
    "resume_hook",
    "resume_webhook",
    "retry_run",
    "start",
    "start_by_name",
    "start_many",
    "start_or_get",
    "unblock_run",
    "wake_run",
]

# --- starting --------------------------------------------------------------------------------------------------------


def _new_run(
    workflow: Workflow[..., Any], options: StartOptions, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> NewRun:
    timeout = options.timeout if options.timeout is not None else workflow.timeout
    attributes = dict(options.attributes or {})
    if options.about is not None:
        attributes.update(about_attributes(options.about))
    return NewRun(
        workflow=workflow.name,
        input=require_size(dumps({"args": list(args), "kwargs": dict(kwargs)})),
        queue=options.queue or queue_for(workflow),
        priority=options.priority or 0,
        attributes=attributes,
        idempotency_key=options.idempotency_key,
        run_after=delay(options.run_after),
        timeout=None if timeout is None else parse(timeout),
        detached=bool(options.detached),
    )


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
    workflow: Workflow[..., Any], options: StartOptions, args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[RunHandle[Any], bool]:
    """As :func:`start`, and whether the run is new: False where the idempotency key named one that was there."""
    new = _new_run(workflow, options, args, kwargs)
    (run_id,) = creation.create_runs([new], notify=True)
    return RunHandle(run_id), run_id == new.id


def start_many(
    workflow: Workflow[..., Any], options: StartOptions, calls: Sequence[tuple[Sequence[Any], Mapping[str, Any]]]
) -> list[RunHandle[Any]]:
    """Start many runs in one transaction with bulk inserts. ``calls``: (args, kwargs) pairs. All or nothing."""
    new = [_new_run(workflow, options, args, kwargs) for args, kwargs in calls]
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


# --- looking ---------------------------------------------------------------------------------------------------------


def get_run(run_id: str) -> RunHandle[Any]:
    """A handle of an existing run.

    Raises:
        RunNotFoundError: there is no such run.
    """
    if not Run.objects.filter(pk=run_id).exists():
        raise RunNotFoundError(run_id)
    return RunHandle(run_id)


def get_hook_by_token(token: str) -> Hook:
    """The active hook of this token.

    Raises:
        HookNotFoundError: it is unknown, disposed, or its run has ended.
    """
    hook = hooks.find_hook(token)
    if hook.run.status not in (RunStatus.PENDING, RunStatus.RUNNING):
        raise HookNotFoundError("No active hook has this token; its run has ended.")
    return hook


# --- acting ----------------------------------------------------------------------------------------------------------


@in_transaction
def cancel_run(run_id: str, reason: str | None = None, *, force: bool = False) -> None:
    """Ask the run's body to end, with a chance to clean up; with ``force``, end the run at once. Idempotent.

    Raises:
        RunNotFoundError: there is no such run. RunNotActiveError: it has completed or failed.
    """
    transition = locking.lock_whole_run(run_id) if force else locking.lock_run(run_id)
    if runs.request_cancel(transition, reason, force=force):
        write([transition])


def resume_hook(token: str, payload: Any = None, *, idempotency_key: str | None = None) -> Event:
    """Deliver a payload to the active hook of this token. Durable when it returns. Returns the event.

    A repeated ``idempotency_key`` (for the same hook) returns the first event and writes nothing.

    Raises:
        HookNotFoundError: unknown, disposed or ended; nothing was written.
        HookPayloadError: the hook's serializer refuses the payload; the run keeps waiting.
        SerializationError, PayloadTooLargeError: the payload cannot be stored.
    """
    if idempotency_key is None and database.is_postgresql() and database.connection().get_autocommit():
        # what cannot be stored may still become something else in the hook's serializer
        with suppress(SerializationError, PayloadTooLargeError):
            if (event := hooks.receive_at_once(token, require_size(dumps(payload)))) is not None:
                return event
    return _receive(token, payload, idempotency_key)


@in_transaction
def _receive(token: str, payload: Any, idempotency_key: str | None) -> Event:
    for _ in range(TRIES):
        hook = hooks.find_hook(token)
        encoded = require_size(dumps(validate_payload(hook, payload)))
        transition = _lock_owner(hook)
        try:
            event = hooks.receive_hook(transition, token, encoded, idempotency_key=idempotency_key)
        except HookNotFoundError:
            continue  # the token changed hands between the look and the lock
        write([transition])
        return event
    raise HookNotFoundError("No active hook has this token; it is unknown, disposed, or its run has ended.")


def _lock_owner(hook: Hook) -> Transition:
    try:
        return locking.lock_run(hook.run_id)
    except RunNotFoundError:
        raise HookNotFoundError("No active hook has this token; its run has been pruned.") from None


@in_transaction
def wake_run(run_id: str, correlation_id: str | None = None) -> int:
    """End the run's sleeps now, or the one with this correlation id. Returns how many waits it ended; 0 is no error.

    Raises:
        RunNotFoundError: there is no such run. RunNotActiveError: it has ended.
    """
    transition = locking.lock_run(run_id)
    runs.require_active(transition)
    locking.read_waits(transition)
    count = waits.wake_waits(transition, correlation_id)
    write([transition])
    return count


@in_transaction
def unblock_run(run_id: str) -> None:
    """Have a parked run tried again now.

    Raises:
        RunNotFoundError, RunNotActiveError; EntityConflictError: the run is not blocked.
    """
    transition = locking.lock_run(run_id)
    runs.unblock_run(transition)
    write([transition])


@in_transaction
def repair_run(run_id: str) -> list[str]:
    """Make the run's tables say what its log says. Returns a sentence for each thing that was wrong; none is fine.

    Raises:
        RunNotFoundError: there is no such run. CorruptedEventLogError: events are missing in the middle of its log.
    """
    return repair.repair_run(run_id)


@in_transaction
def dispose_hook(token: str) -> None:
    """Free a token from outside: the hook takes no more payloads, and the body sees its end.

    Raises:
        HookNotFoundError: unknown, disposed or ended.
    """
    transition = _lock_owner(hooks.find_hook(token))
    hooks.dispose_by_token(transition, token)
    write([transition])


# --- the a-twins -----------------------------------------------------------------------------------------------------

astart_by_name = sync_to_async(start_by_name)
aget_run = sync_to_async(get_run)
aget_hook_by_token = sync_to_async(get_hook_by_token)
acancel_run = sync_to_async(cancel_run)
aresume_hook = sync_to_async(resume_hook)
awake_run = sync_to_async(wake_run)
aunblock_run = sync_to_async(unblock_run)
arepair_run = sync_to_async(repair_run)
adispose_hook = sync_to_async(dispose_hook)


class _Client:
    """What definitions and handles ask outside a body: the seam of ``context.Client``."""

    start = staticmethod(start)
    start_many = staticmethod(start_many)
    status = staticmethod(results.status)

    astart = staticmethod(sync_to_async(start))
    astart_many = staticmethod(sync_to_async(start_many))
    astatus = staticmethod(sync_to_async(results.status))
    stream = staticmethod(reading.stream)
    astream = staticmethod(reading.astream)

    def result(self, run_id: str, timeout: Any) -> Any:
        return results.result(run_id, _seconds(timeout))

    async def aresult(self, run_id: str, timeout: Any) -> Any:
        return await results.aresult(run_id, _seconds(timeout))

    def cancel(self, run_id: str, reason: str | None, force: bool) -> None:
        cancel_run(run_id, reason, force=force)

    async def acancel(self, run_id: str, reason: str | None, force: bool) -> None:
        await acancel_run(run_id, reason, force=force)


def _seconds(timeout: Any) -> float | None:
    return None if timeout is None else parse(timeout).total_seconds()


client = _Client()
