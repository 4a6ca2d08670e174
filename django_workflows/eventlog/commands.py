"""What a body asks for, and how it ended. The engine makes commands; services turn them into events.

Payloads travel as :class:`~django_workflows.serialization.Encoded` text, so that a value is encoded once and never
shared between the body and the outside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..serialization import Encoded


@dataclass(slots=True)
class Command:
    """``correlation_id`` names the entity within its run and is the same on every replay: ``step:charge_card:2``."""

    correlation_id: str
    #: sequence of the log event whose delivery made the body say this (0: the first drain)
    cause: int = field(default=0, kw_only=True)


@dataclass(slots=True)
class CreateStep(Command):
    name: str
    input: Encoded  # {"args": [...], "kwargs": {...}}
    queue: str | None  # None: the run's own queue


@dataclass(slots=True)
class CancelStep(Command):
    pass


@dataclass(slots=True)
class CreateWait(Command):
    due_at: datetime


@dataclass(slots=True)
class CancelWait(Command):
    pass


@dataclass(slots=True)
class CreateHook(Command):
    token: str
    is_webhook: bool
    metadata: Encoded
    #: what the doors need to answer a delivery: {"schema": dotted path} | {"respond_with": ..., "verify": ...}
    options: Encoded
    generated: bool  # the token was made by the engine, not named by the body


@dataclass(slots=True)
class DisposeHook(Command):
    pass


@dataclass(slots=True)
class StartChild(Command):
    workflow: str
    child: str  # the child run's id, made by the engine when first decided, from the log on replay
    input: Encoded
    options: dict[str, Any]  # of .using(): queue, priority, run_after, timeout, attributes, idempotency_key, detached


@dataclass(slots=True)
class SetAttributes(Command):
    attributes: dict[str, str | None]


@dataclass(slots=True)
class RecordPatch(Command):
    patch: str


@dataclass(slots=True)
class EndRun(Command):
    """How the body ended. Services choose the terminal event: a run with a cancel requested ends cancelled."""


@dataclass(slots=True)
class CompleteRun(EndRun):
    output: Encoded


@dataclass(slots=True)
class FailRun(EndRun):
    error: Encoded  # {type, message, args, traceback, cause}
    error_code: str
    #: the exception itself, for observers; no part of what is recorded
    raised: BaseException | None = field(default=None, kw_only=True, compare=False, repr=False)


@dataclass(slots=True)
class ContinueAsNew(EndRun):
    input: Encoded
