"""The seam between what people write and what runs it.

A primitive such as ``sleep()`` asks :func:`current` what runs the caller: the engine's runtime inside a workflow body,
the worker's inside a step, nothing elsewhere. So the modules that users import know neither the engine nor the workers.
What happens outside of bodies and steps goes through ``client``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from inspect import iscoroutine
from random import Random
from typing import Any, Protocol
from uuid import UUID

from ..exceptions import WorkflowSandboxError
from ..values.durations import Duration
from .options import StartOptions


@dataclass(frozen=True, slots=True)
class WorkflowMetadata:
    """The run that the caller belongs to.

    ``started_at`` is aware, in UTC. ``attributes`` is a copy, as far as the body's events have been delivered.
    """

    run_id: str
    workflow_name: str
    started_at: datetime
    attributes: dict[str, str]
    #: the instant of the schedule's tick that made the run; None in other runs
    scheduled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StepMetadata:
    """The step that the caller runs in.

    ``step_id`` stays the same over retries: give it to other systems as the idempotency key. ``attempt`` counts from 1,
    ``started_at`` (aware, in UTC) is when the first attempt began. ``cancelled`` turns True when the result is no
    longer wanted.
    """

    step_id: str
    step_name: str
    run_id: str
    attempt: int
    started_at: datetime
    cancelled: bool = False


class Named(Protocol):
    """What a runtime needs of a workflow: the name under which every process finds it."""

    @property
    def name(self) -> str: ...


class CallableStep(Named, Protocol):
    """What a runtime needs of a step."""

    @property
    def queue(self) -> str | None: ...


class HookPort(Protocol):
    """What a runtime gives a ``Hook`` to work with."""

    token: str

    def receive(self, *, iterating: bool = False) -> Coroutine[Any, Any, Any]:
        """The next payload. After the hook's disposal: ``HookNotFoundError``, or the end of an iteration."""

    def dispose(self) -> None:
        """Take no more payloads and free the token. Disposing twice is silent."""

    def conflict(self) -> Coroutine[Any, Any, str | None]:
        """Wait for the registration: None, or the id of the run that owns the token."""


class Runtime:
    """What runs the caller. Subclasses offer what is possible in their place; all else is refused, with advice.

    What a method cannot do here it refuses with :class:`WorkflowSandboxError`, and that is all that this class does.
    ``in_body`` is True inside a workflow body, ``is_sync`` in one that is a plain ``def``: there the methods that
    return a coroutine elsewhere wait for its result and return that. ``place`` names the place in messages. ``run_id``
    is the run that the caller belongs to.
    """

    in_body: bool = False
    is_sync: bool = False
    #: it is fed with what it has seen before: what it logs was logged then
    replaying: bool = False
    place: str = "here"
    run_id: str

    def refuse(self, what: str, advice: str = "") -> WorkflowSandboxError:
        """The error that says that ``what`` is not possible in this place."""
        return WorkflowSandboxError(f"{what} is not possible {self.place}." + (f" {advice}" if advice else ""))

    def log_context(self) -> dict[str, Any]:
        """Which run, and step, the caller belongs to: attributes of its log records."""
        return {"run_id": self.run_id}

    # --- bodies ------------------------------------------------------------------------------------------------------

    def call_step(self, step: CallableStep, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        """A coroutine for the step's recorded result. The step is requested when that is first awaited.

        Awaiting it raises the step's exception, or ``StepFailedError`` where that cannot be rebuilt;
        ``SerializationError`` for arguments that cannot be stored.
        """
        raise self.refuse(f"Calling the step {step.name} durably", "Only a workflow body does that.")

    def sleep(self, delay: Duration | datetime) -> Coroutine[Any, Any, None]:
        """A durable wait. Raises ``ValueError`` or ``TypeError`` for a delay that is none."""
        raise self.refuse("sleep()", "It works in a workflow body; elsewhere use time.sleep() or asyncio.sleep().")

    def create_hook(self, *, token: str | None, is_webhook: bool, metadata: Any, options: dict[str, Any]) -> HookPort:
        """A hook, at once. ``token``: None draws a secret one. ``options``: how payloads are checked and answered."""
        raise self.refuse("Creating a hook", "Create it in the workflow body and pass its token on.")

    def webhook_url(self, token: str) -> str:
        """The absolute URL of this process's settings. Raises ``ValueError`` where none is configured."""
        raise self.refuse("A webhook's URL", "Read `webhook.url` in the workflow body and pass it on.")

    def now(self) -> datetime:
        """The logical clock, aware and in UTC: the time of the last event delivered."""
        raise self.refuse("now()", "It is the clock of a workflow body; elsewhere use django.utils.timezone.now().")

    def uuid4(self) -> UUID:
        """A UUID drawn from the run's own seed."""
        raise self.refuse("uuid4()", "It works in a workflow body; elsewhere use uuid.uuid4().")

    def random(self) -> Random:
        """The run's generator, seeded by the run; one per body."""
        raise self.refuse("random()", "It works in a workflow body; elsewhere use the module random.")

    def patched(self, patch: str) -> bool:
        """Whether the run takes the new way at this line; the same answer at every call and on every replay."""
        raise self.refuse("patched()", "It works in a workflow body, whose code changes under live runs.")

    def start_child(
        self, workflow: Named, options: StartOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """A coroutine that starts a child run and returns its ``RunHandle``.

        ``options`` must not hold an idempotency key. Awaiting it raises ``SerializationError`` for arguments that
        cannot be stored.
        """
        raise self.refuse(f"Starting {workflow.name} as a child run", "Only a workflow body does that.")

    def child_result(self, run_id: str, timeout: Duration | None) -> Coroutine[Any, Any, Any]:
        """A coroutine for the result of a child that this body started.

        Awaiting it raises ``RunFailedError``, ``RunCancelledError``, or ``TimeoutError`` after ``timeout``; None waits
        indefinitely.
        """
        raise self.refuse("Waiting for a child run", "Only a workflow body does that.")

    def continue_as_new(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> BaseException:
        """What to raise so that the run ends and hands over to a new one with these arguments.

        Raises ``TypeError`` for arguments that do not fit, ``SerializationError`` for those that cannot be stored.
        """
        raise self.refuse("continue_as_new()", "It works in a workflow body.")

    # --- bodies that are a plain def ---------------------------------------------------------------------------------

    def settle(self, awaitable: Coroutine[Any, Any, Any]) -> Any:
        """The awaitable itself, where one can await; in a plain ``def`` body its result."""
        return awaitable

    def wait(self, awaitable: Any) -> Any:
        """The awaitable's result, in a plain ``def`` body."""
        if iscoroutine(awaitable):
            awaitable.close()
        raise self.refuse("Waiting without `await`", "It is for workflows that are a plain `def`.")

    def spawn(self, call: Callable[[], Any]) -> Coroutine[Any, Any, Any]:
        """A coroutine that makes the call on a stack of its own, in a plain ``def`` body."""
        raise self.refuse("Branching without `await`", "It is for workflows that are a plain `def`.")

    def open_sync(
        self, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """A coroutine that runs a plain ``def`` body."""
        raise self.refuse("Running a workflow's body")

    # --- bodies and steps --------------------------------------------------------------------------------------------

    def metadata(self) -> WorkflowMetadata:
        """The run that the caller belongs to."""
        raise self.refuse("get_workflow_metadata()")

    def set_attributes(self, attributes: dict[str, str | None]) -> None:
        """Merge cleaned attributes into the run's; None removes a key. Raises ``ValueError`` past the limit of a run."""
        raise self.refuse("set_attributes()")

    def aset_attributes(self, attributes: dict[str, str | None]) -> Awaitable[None]:
        """As :meth:`set_attributes`, in async code."""
        raise self.refuse("aset_attributes()")

    # --- steps -------------------------------------------------------------------------------------------------------

    def step_metadata(self) -> StepMetadata:
        """The step that the caller runs in."""
        raise self.refuse("get_step_metadata()", "It works in a step that a worker runs.")

    def write(self, run_id: str, stream: str, value: Any) -> None:
        """Append ``value`` to a stream of that run. Raises ``StreamClosedError``, ``SerializationError``, and
        ``EntityConflictError`` where the attempt has lost its lease."""
        raise self.refuse("Writing to a stream", "Write in a step; a body may pass the handle to one.")

    def awrite(self, run_id: str, stream: str, value: Any) -> Awaitable[None]:
        """As :meth:`write`, in async code."""
        raise self.refuse("Writing to a stream", "Write in a step; a body may pass the handle to one.")

    def close_stream(self, run_id: str, stream: str) -> None:
        """End the stream. Its readers stop after the last chunk."""
        raise self.refuse("Closing a stream", "Close it in a step; a body may pass the handle to one.")

    def aclose_stream(self, run_id: str, stream: str) -> Awaitable[None]:
        """As :meth:`close_stream`, in async code."""
        raise self.refuse("Closing a stream", "Close it in a step; a body may pass the handle to one.")

    def respond(self, request: Any, response: Any) -> None:
        """Answer the caller of a ``WebhookRequest`` that is held with a ``WebhookResponse``.

        Raises ``EntityConflictError`` when it was answered before, or the time limit has passed.
        """
        raise self.refuse("Answering a webhook", "Pass the request to a step and answer it there.")

    def arespond(self, request: Any, response: Any) -> Awaitable[None]:
        """As :meth:`respond`, in async code."""
        raise self.refuse("Answering a webhook", "Pass the request to a step and answer it there.")


#: set by the engine and the workers, in the context of the user's code
RUNTIME: ContextVar[Runtime | None] = ContextVar("django_workflows.runtime", default=None)


def current() -> Runtime | None:
    """What runs the caller; None outside of bodies and of steps that a worker runs."""
    return RUNTIME.get()


def require(what: str) -> Runtime:
    """The current runtime. Raises :class:`WorkflowSandboxError` saying where ``what`` belongs, if there is none."""
    runtime = RUNTIME.get()
    if runtime is None:
        raise WorkflowSandboxError(
            f"{what} works only in a workflow body, or in a step that a worker runs: nothing runs this code."
        )
    return runtime


def body() -> Runtime | None:
    """The current runtime if the caller is inside a workflow body, else None."""
    runtime = RUNTIME.get()
    return runtime if runtime is not None and runtime.in_body else None


def sync_body() -> Runtime | None:
    """The current runtime if the caller is inside a workflow body that is a plain ``def``, else None."""
    runtime = RUNTIME.get()
    return runtime if runtime is not None and runtime.is_sync else None
