"""Is this the decision that the log records? And both sides in words, for the person who has to find the difference."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from typing import Any

from ..eventlog import commands, events
from ..eventlog.commands import Command
from ..eventlog.events import Record
from ..serialization import canonical, loads
from ..serialization.display import represent, represent_call
from ..values.ids import is_secret
from ..values.text import truncate

_LONGEST = 200


def is_about(command: Command, record: Record) -> bool:
    """Whether both are the same kind of decision on the same entity. ``record`` is one of a decision."""
    kind, _ = _RULES[record.type]
    return isinstance(command, kind) and command.correlation_id == record.correlation_id


def matches(command: Command, record: Record, tokens: Collection[str] = ()) -> bool:
    """Whether ``record`` is what recording ``command`` gives.

    Compared are kind, correlation id and what the decision says (name, arguments, due time, token ...), but not what
    services add: queues, workers, times. ``tokens`` of webhooks: see :func:`_same_text`.
    """
    if not is_about(command, record):
        return False
    rule = _RULES[record.type][1]
    return rule is None or rule(command, record, tokens)


# --- fingerprints ----------------------------------------------------------------------------------------------------


def _same_step(command: commands.CreateStep, record: Record, tokens: Collection[str]) -> bool:
    # Services splice the encoded arguments into the event as they are, so that this is true on nearly every replay.
    if record.data.startswith(f'{{"name":"{command.name}",{command.input[1:-1]},"queue":'):
        return True
    raw = json.loads(record.data)
    return raw["name"] == command.name and _same_call(command.input, raw, tokens)


def _same_child(command: commands.StartChild, record: Record, tokens: Collection[str]) -> bool:
    if record.data == f'{{"workflow":"{command.workflow}","child":"{command.child}",{command.input[1:]}':
        return True
    raw = json.loads(record.data)
    return (raw["workflow"], raw["child"]) == (command.workflow, command.child) and _same_call(
        command.input, raw, tokens
    )


def _same_call(input: str, raw: dict[str, Any], tokens: Collection[str]) -> bool:
    return _same_text(input, json.dumps({"args": raw["args"], "kwargs": raw["kwargs"]}), tokens)


def _same_text(said: str, logged: str, tokens: Collection[str]) -> bool:
    """Equal values. A webhook's URL follows BASE_URL, which may change while runs live: only its token counts."""
    if said == logged or canonical(said) == canonical(logged):
        return True
    if not any(token in said for token in tokens):
        return False
    urls = re.compile(r'https?://[^\s"\\]*(%s)/?' % "|".join(map(re.escape, sorted(tokens))))  # noqa: UP031
    return canonical(urls.sub(r"\1", said)) == canonical(urls.sub(r"\1", logged))


def _same_wait(command: commands.CreateWait, record: Record, tokens: Collection[str]) -> bool:
    return bool(record.payload["due_at"] == command.due_at)


def _same_hook(command: commands.CreateHook, record: Record, tokens: Collection[str]) -> bool:
    payload, is_webhook = record.payload, command.is_webhook
    return bool(payload["token"] == command.token and payload.get("is_webhook", is_webhook) == is_webhook)


def _same_attributes(command: commands.SetAttributes, record: Record, tokens: Collection[str]) -> bool:
    return bool(record.payload["attributes"] == command.attributes)


def _same_output(command: commands.EndRun, record: Record, tokens: Collection[str]) -> bool:
    if isinstance(command, commands.ContinueAsNew):
        return True
    if not isinstance(command, commands.CompleteRun):
        return False
    if record.data == f'{{"output":{command.output}}}':
        return True
    return _same_text(command.output, json.dumps(json.loads(record.data)["output"]), tokens)


def _same_failure(command: commands.EndRun, record: Record, tokens: Collection[str]) -> bool:
    return isinstance(command, commands.FailRun)


_Rule = Callable[[Any, Record, Collection[str]], bool]
_RULES: dict[str, tuple[type[Command], _Rule | None]] = {
    events.StepCreated.type: (commands.CreateStep, _same_step),
    events.StepCancelled.type: (commands.CancelStep, None),
    events.WaitCreated.type: (commands.CreateWait, _same_wait),
    events.WaitCancelled.type: (commands.CancelWait, None),
    events.HookCreated.type: (commands.CreateHook, _same_hook),
    events.HookConflict.type: (commands.CreateHook, _same_hook),
    events.HookDisposed.type: (commands.DisposeHook, None),
    events.ChildStarted.type: (commands.StartChild, _same_child),
    events.AttributesSet.type: (commands.SetAttributes, _same_attributes),
    events.PatchRecorded.type: (commands.RecordPatch, None),
    events.RunCompleted.type: (commands.EndRun, _same_output),
    events.RunFailed.type: (commands.EndRun, _same_failure),
    events.RunCancelled.type: (commands.EndRun, None),
}


# --- in words --------------------------------------------------------------------------------------------------------


def describe_command(command: Command | None) -> str:
    """``step shop.charge_card(41)``, ``sleep until 2026-11-20T09:00:00+00:00``, ``the end, returning {'id': 1}``."""
    if command is None:
        return "nothing more"
    try:
        return _DESCRIBE[type(command)](command)
    except Exception:  # noqa: BLE001 - of a class of the project, which refuses to be built again
        return f"{type(command).__name__} {command.correlation_id}"


def describe_record(record: Record) -> str:
    """The same words for what the log holds."""
    try:
        return _DESCRIBE_RECORD[record.type](record)
    except Exception:  # noqa: BLE001 - whatever it holds, this code cannot read it
        return f"{record.type} {record.correlation_id}"


def _call(what: str, name: str, args: Any, kwargs: Any) -> str:
    return f"{what} {name}({truncate(represent_call(args, kwargs), _LONGEST)})"


def _encoded_call(what: str, name: str, input: str) -> str:
    value = loads(input)
    return _call(what, name, value["args"], value["kwargs"])


def _sleep(due_at: Any) -> str:
    return f"sleep until {due_at.isoformat()}"


def _hook(correlation_id: str, token: str | None) -> str:
    return f"{correlation_id} with a secret token" if token is None else f"{correlation_id} with token {token!r}"


def _failure(error: Any) -> str:
    return f"the end, raising {error['type']}: {truncate(error['message'], _LONGEST)}"


def _short(value: Any) -> str:
    return truncate(represent(value), _LONGEST)


def _withdrawal(verb: str) -> Callable[[Record], str]:
    return lambda record: f"{verb} of {record.correlation_id}"


def _logged_call(what: str, named: str) -> Callable[[Record], str]:
    return lambda r: _call(what, r.payload[named], r.payload["args"], r.payload["kwargs"])


def _logged_hook(record: Record) -> str:
    payload = record.payload
    secret = is_secret(payload["token"], payload.get("is_webhook", False))
    return _hook(record.correlation_id, None if secret else payload["token"])


_DESCRIBE_RECORD: dict[str, Callable[[Record], str]] = {
    events.StepCreated.type: _logged_call("step", "name"),
    events.StepCancelled.type: _withdrawal("cancel"),
    events.WaitCreated.type: lambda r: _sleep(r.payload["due_at"]),
    events.WaitCancelled.type: _withdrawal("cancel"),
    events.HookCreated.type: _logged_hook,
    events.HookConflict.type: _logged_hook,
    events.HookDisposed.type: _withdrawal("disposal"),
    events.ChildStarted.type: _logged_call("child run", "workflow"),
    events.AttributesSet.type: lambda r: f"attributes {_short(r.payload['attributes'])}",
    events.PatchRecorded.type: lambda r: f"patched({r.payload['patch']!r})",
    events.RunCompleted.type: lambda r: f"the end, returning {_short(r.payload['output'])}",
    events.RunFailed.type: lambda r: _failure(r.payload["error"]),
    events.RunCancelled.type: lambda r: "the end, cancelled",
}
_DESCRIBE: dict[type[Command], Callable[[Any], str]] = {
    commands.CreateStep: lambda c: _encoded_call("step", c.name, c.input),
    commands.CancelStep: lambda c: f"cancel of {c.correlation_id}",
    commands.CreateWait: lambda c: _sleep(c.due_at),
    commands.CancelWait: lambda c: f"cancel of {c.correlation_id}",
    commands.CreateHook: lambda c: _hook(c.correlation_id, None if c.generated or c.is_webhook else c.token),
    commands.DisposeHook: lambda c: f"disposal of {c.correlation_id}",
    commands.StartChild: lambda c: _encoded_call("child run", c.workflow, c.input),
    commands.SetAttributes: lambda c: f"attributes {_short(c.attributes)}",
    commands.RecordPatch: lambda c: f"patched({c.patch!r})",
    commands.CompleteRun: lambda c: f"the end, returning {_short(loads(c.output))}",
    commands.FailRun: lambda c: _failure(loads(c.error)),
    commands.ContinueAsNew: lambda c: "the end, continuing as a new run",
}
