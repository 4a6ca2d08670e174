"""A body's commands, in order, to the verbs that record them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..eventlog import commands, events
from ..eventlog.commands import Command
from ..store.event_log import append
from ..store.transition import Transition
from . import attributes, children, hooks, runs, steps, waits
from .continuation import continue_as_new

#: commands that need more than the run's own rows: they are recorded under its lock, never behind the fence alone
NEEDS_LOCK = (commands.CreateHook, commands.DisposeHook, commands.StartChild, commands.ContinueAsNew)


def record_decisions(transition: Transition, decided: Sequence[Command]) -> None:
    """Record what the body decided. Whatever ends what has ended already is dropped, as the log says enough."""
    for command in decided:
        _VERBS[type(command)](transition, command)


def _create_step(transition: Transition, command: commands.CreateStep) -> None:
    queue = command.queue or transition.run.queue
    steps.create_step(transition, command.correlation_id, command.name, command.input, queue)


def _cancel_step(transition: Transition, command: commands.CancelStep) -> None:
    step = transition.entities.steps.get(command.correlation_id)
    steps.cancel_step(transition, step, command.correlation_id)


def _create_hook(transition: Transition, command: commands.CreateHook) -> None:
    hooks.create_hook(
        transition,
        command.correlation_id,
        command.token,
        is_webhook=command.is_webhook,
        metadata=command.metadata,
        options=command.options,
    )


def record_patch(transition: Transition, command: commands.RecordPatch) -> None:
    """The body went the new way at a ``patched()``."""
    append(transition, events.PatchRecorded(command.patch), command.correlation_id)


_VERBS: dict[type[Command], Callable[[Transition, Any], Any]] = {
    commands.CreateStep: _create_step,
    commands.CancelStep: _cancel_step,
    commands.CreateWait: lambda t, c: waits.create_wait(t, c.correlation_id, c.due_at),
    commands.CancelWait: lambda t, c: waits.cancel_wait(t, c.correlation_id),
    commands.CreateHook: _create_hook,
    commands.DisposeHook: lambda t, c: hooks.dispose_hook(t, c.correlation_id),
    commands.StartChild: children.start_child,
    commands.SetAttributes: lambda t, c: attributes.set_attributes(t, c.attributes, c.correlation_id, limit=False),
    commands.RecordPatch: record_patch,
    commands.CompleteRun: runs.end_run,
    commands.FailRun: runs.end_run,
    commands.ContinueAsNew: continue_as_new,
}
