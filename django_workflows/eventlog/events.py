"""What happened to a run: one frozen dataclass per event type, declared once.

Choices, constraints, encoding and decoding derive from the classes below. ``Kind`` says who causes an event:

* a *decision* exists because the body said so; replaying the body must produce the same decisions in the same order;
* an *arrival* comes from outside the body;
* a *mark* is bookkeeping about the run itself, neither of the two (``run_created``, ``run_started``, ``run_retried``).

``resolves`` is True for events whose delivery may settle something that the body awaits. A field typed as a payload may
be given as :class:`~django_workflows.serialization.Encoded` text, which is spliced in as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from enum import Enum
from json.encoder import encode_basestring_ascii
from typing import Any, ClassVar, TypeVar, dataclass_transform

from ..serialization import Encoded, dumps, loads

E = TypeVar("E", bound="Event")


class Kind(Enum):
    DECISION = "decision"
    ARRIVAL = "arrival"
    MARK = "mark"


TYPES: dict[str, type[Event]] = {}


class Event:
    """Base of all events. ``type`` is the string in the database: the class name in snake_case."""

    type: ClassVar[str]
    kind: ClassVar[Kind]
    resolves: ClassVar[bool]
    _names: ClassVar[tuple[str, ...]]
    _optional: ClassVar[frozenset[str]] = frozenset()

    __slots__ = ()

    def encode(self) -> str:
        """The event's fields as ASCII JSON text, in declaration order. Optional fields that are None are left out."""
        parts = []
        for name in self._names:
            value = getattr(self, name)
            if value is None and name in self._optional:
                continue
            parts.append(f'"{name}":{_text(value)}')
        return "{" + ",".join(parts) + "}"


def _text(value: Any) -> str:
    """One field as JSON. Most are pieces of text, small numbers or encoded already."""
    kind = type(value)
    if kind is Encoded:
        return value  # type: ignore[no-any-return]
    if kind is str:
        return encode_basestring_ascii(value)
    if value is None:
        return "null"
    return dumps(value)


@dataclass_transform(frozen_default=True)
def _event(kind: Kind, *, resolves: bool = False, optional: tuple[str, ...] = ()) -> Callable[[type[E]], type[E]]:
    def declare(plain: type[E]) -> type[E]:
        cls: Any = dataclass(frozen=True, slots=True)(plain)
        name = cls.__name__
        cls.type = "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
        cls.kind, cls.resolves = kind, resolves
        cls._names = tuple(field.name for field in fields(cls))
        cls._optional = frozenset(optional)
        TYPES[cls.type] = cls
        return cls  # type: ignore[no-any-return]

    return declare


# --- the run ---------------------------------------------------------------------------------------------------------


@_event(Kind.MARK, optional=("forked_from", "continued_from", "scheduled_at", "context"))
class RunCreated(Event):
    workflow: str
    args: Any
    kwargs: Any
    queue: str
    priority: int
    attributes: Any
    idempotency_key: str | None
    parent: str | None
    seed: str
    forked_from: str | None = None
    continued_from: str | None = None
    #: the instant of the schedule's tick that made the run
    scheduled_at: datetime | None = None
    #: what the middleware captured at the start
    context: Any = None


@_event(Kind.MARK)
class RunStarted(Event):
    worker: str | None
    code_version: str


@_event(Kind.DECISION)
class RunCompleted(Event):
    output: Any


@_event(Kind.DECISION)
class RunFailed(Event):
    error: Any
    error_code: str


@_event(Kind.ARRIVAL, resolves=True)
class RunCancelRequested(Event):
    reason: str | None
    force: bool


@_event(Kind.ARRIVAL, resolves=True)
class RunTimedOut(Event):
    deadline_at: datetime


@_event(Kind.DECISION)
class RunCancelled(Event):
    reason: str | None
    output: Any
    error: Any


@_event(Kind.MARK, optional=("skipped",))
class RunRetried(Event):
    #: sequences of the events of earlier lives that replay leaves out from now on
    skipped: Any = None


# --- steps -----------------------------------------------------------------------------------------------------------


@_event(Kind.DECISION)
class StepCreated(Event):
    name: str
    args: Any
    kwargs: Any
    queue: str


@_event(Kind.ARRIVAL)
class StepStarted(Event):
    attempt: int
    worker: str | None


@_event(Kind.ARRIVAL)
class StepRetrying(Event):
    attempt: int
    error: Any
    retry_at: datetime | None
    lost: bool = False


@_event(Kind.ARRIVAL, resolves=True)
class StepCompleted(Event):
    attempt: int
    output: Any


@_event(Kind.ARRIVAL, resolves=True)
class StepFailed(Event):
    attempt: int
    error: Any


@_event(Kind.DECISION)
class StepCancelled(Event):
    pass


# --- waits -----------------------------------------------------------------------------------------------------------


@_event(Kind.DECISION)
class WaitCreated(Event):
    due_at: datetime


@_event(Kind.ARRIVAL, resolves=True)
class WaitCompleted(Event):
    woken: bool


@_event(Kind.DECISION)
class WaitCancelled(Event):
    pass


# --- hooks -----------------------------------------------------------------------------------------------------------


@_event(Kind.DECISION, resolves=True)
class HookCreated(Event):
    token: str
    is_webhook: bool
    metadata: Any


@_event(Kind.DECISION, resolves=True)
class HookConflict(Event):
    token: str
    owner: str


@_event(Kind.ARRIVAL, resolves=True)
class HookReceived(Event):
    payload: Any
    idempotency_key: str | None


@_event(Kind.DECISION, optional=("outside",))
class HookDisposed(Event):
    #: True when somebody freed the token from outside: then it is an arrival, and the body sees its hook end
    outside: bool | None = None


# --- children --------------------------------------------------------------------------------------------------------


@_event(Kind.DECISION)
class ChildStarted(Event):
    workflow: str
    child: str
    args: Any
    kwargs: Any


@_event(Kind.ARRIVAL, resolves=True)
class ChildCompleted(Event):
    child: str
    output: Any


@_event(Kind.ARRIVAL, resolves=True)
class ChildFailed(Event):
    child: str
    error: Any
    cancelled: bool


# --- the rest --------------------------------------------------------------------------------------------------------


@_event(Kind.DECISION)
class AttributesSet(Event):
    #: by the body when the correlation id is ``attributes:<n>``, by a step when it is the step's: then an arrival
    attributes: Any


@_event(Kind.DECISION)
class PatchRecorded(Event):
    patch: str


CREATIONS = ("step_created", "wait_created", "hook_created", "hook_conflict", "child_started")
STEP_TERMINALS = ("step_completed", "step_failed", "step_cancelled")
WAIT_TERMINALS = ("wait_completed", "wait_cancelled")
CHILD_TERMINALS = ("child_completed", "child_failed")
RUN_TERMINALS = ("run_completed", "run_failed", "run_cancelled")
#: what may still be appended to a log after its terminal event
AFTER_END = ("step_completed", "step_failed", "run_retried")


class Record:
    """One row of a log: ``sequence`` (from 1, dense), ``type``, ``correlation_id``, ``data`` (text), ``created_at``."""

    __slots__ = ("_payload", "correlation_id", "created_at", "data", "sequence", "type")

    def __init__(self, sequence: int, type: str, correlation_id: str, data: str, created_at: datetime) -> None:
        self.sequence, self.type, self.correlation_id = sequence, type, correlation_id
        self.data, self.created_at = data, created_at
        self._payload: dict[str, Any] | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """``data`` decoded: the event's fields by name."""
        if self._payload is None:
            self._payload = loads(self.data)
        return self._payload

    @property
    def is_decision(self) -> bool:
        """Whether the body said so. Attributes that a step set, and tokens freed from outside, are arrivals."""
        if self.type == "attributes_set":
            return self.correlation_id.startswith("attributes:")
        if self.type == "hook_disposed":
            return "outside" not in self.data
        return TYPES[self.type].kind is Kind.DECISION

    @property
    def resolves(self) -> bool:
        return TYPES[self.type].resolves or (self.type == "hook_disposed" and not self.is_decision)

    def __repr__(self) -> str:
        return f"<{self.sequence} {self.type} {self.correlation_id}>"
