"""What the arrival of each event settles in the body: at most one thing it waits for (rule R1 of docs/reliability.md).

Each function takes the body's runtime and the record, and returns whether the body may have something to run now. What
the body has abandoned is settled silently, the same way every time.
"""

from __future__ import annotations

from collections.abc import Callable

from ..eventlog import events
from ..eventlog.events import Record
from ..values.attributes import merge_attributes
from .payloads import read, step_error
from .runtime import BodyRuntime


def _step_ended(runtime: BodyRuntime, record: Record) -> bool:
    runtime.move_to(record)
    entry = runtime.steps.pop(record.correlation_id, None)
    if entry is None:
        return False
    name, future = entry
    payload = read(record)
    if record.type == events.StepCompleted.type:
        future.set_result(payload["output"])
    else:
        future.set_exception(step_error(name, payload["error"]))
    return True


def _wait_completed(runtime: BodyRuntime, record: Record) -> bool:
    runtime.move_to(record)
    fire = runtime.waits.pop(record.correlation_id, None)
    if fire is None:
        return False
    fire()
    return True


def _hook_created(runtime: BodyRuntime, record: Record) -> bool:
    runtime.move_to(record)
    hook = runtime.hooks.get(record.correlation_id)
    if hook is None:
        return False
    hook.created()
    return True


def _hook_conflicted(runtime: BodyRuntime, record: Record) -> bool:
    runtime.move_to(record)
    hook = runtime.hooks.get(record.correlation_id)
    if hook is None:
        return False
    hook.conflicted(record.payload["owner"])
    return True


def _hook_received(runtime: BodyRuntime, record: Record) -> bool:
    runtime.move_to(record)
    hook = runtime.hooks.get(record.correlation_id)
    if hook is None:
        return False
    hook.received(read(record)["payload"])
    return True


def _hook_disposed(runtime: BodyRuntime, record: Record) -> bool:
    if record.is_decision:
        return False  # the body's own disposal, matched already
    runtime.move_to(record)
    hook = runtime.hooks.pop(record.correlation_id, None)
    if hook is None:
        return False
    hook.freed()
    return True


def _child_ended(runtime: BodyRuntime, record: Record) -> bool:
    runtime.move_to(record)
    child = runtime.children.get(read(record)["child"])
    if child is None:
        return False
    child.ended(record)
    return True


def _end_requested(runtime: BodyRuntime, record: Record) -> bool:
    runtime.move_to(record)
    if runtime.cancelled or runtime.main is None:
        return False
    runtime.cancelled = True
    reason = record.payload.get("reason")
    if reason is None and record.type == events.RunTimedOut.type:
        reason = "the run is past its deadline"
    runtime.main.cancel(reason)
    return True


def _attributes_set(runtime: BodyRuntime, record: Record) -> bool:
    """The log's order decides, also between the body's own changes and those of its steps."""
    runtime.attributes = merge_attributes(runtime.attributes, record.payload["attributes"])
    return False


SETTLE: dict[str, Callable[[BodyRuntime, Record], bool]] = {
    events.StepCompleted.type: _step_ended,
    events.StepFailed.type: _step_ended,
    events.WaitCompleted.type: _wait_completed,
    events.HookCreated.type: _hook_created,
    events.HookConflict.type: _hook_conflicted,
    events.HookReceived.type: _hook_received,
    events.HookDisposed.type: _hook_disposed,
    events.ChildCompleted.type: _child_ended,
    events.ChildFailed.type: _child_ended,
    events.RunCancelRequested.type: _end_requested,
    events.RunTimedOut.type: _end_requested,
    events.AttributesSet.type: _attributes_set,
}
