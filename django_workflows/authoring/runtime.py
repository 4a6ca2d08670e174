"""The seam between what people write and what runs it.

A primitive such as ``sleep()`` asks :func:`current` who is running the caller: the engine's runtime inside a workflow
body, the worker's inside a step, nobody elsewhere. A definition's ``start()`` and a handle's ``result()`` ask the
installed :class:`Client`. So the modules that users import know neither the engine nor the database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from inspect import iscoroutine
from random import Random
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from ..exceptions import WorkflowSandboxError
from ..values import clock, durations
from ..values.attributes import require_few

if TYPE_CHECKING:
    from .definitions import Step, Workflow
    from .handles import RunHandle
    from .http import WebhookRequest, WebhookResponse

MAX_ATTRIBUTE_KEY, MAX_ATTRIBUTE_VALUE = 64, 256
_INT32 = 2**31


@dataclass(frozen=True, slots=True)
class WorkflowMetadata:
    """The run that the caller belongs to. ``attributes`` is a copy, as far as the body's events have been delivered."""

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
    ``started_at`` is when the first attempt began. ``cancelled`` turns True when nobody wants the result any more.
    """

    step_id: str
    step_name: str
    run_id: str
    attempt: int
    started_at: datetime
    cancelled: bool = False


class HookPort(Protocol):
    """What a runtime gives a ``Hook`` to work with."""

    token: str

    def receive(self, *, iterating: bool = False) -> Coroutine[Any, Any, Any]:
        """The next payload. After the hook's disposal: ``HookNotFoundError``, or the end of an iteration."""

    def dispose(self) -> None: ...

    def conflict(self) -> Coroutine[Any, Any, str | None]: ...


class Runtime:
    """Who runs the caller. Subclasses offer what is possible in their place; all else is refused, with advice.

    ``in_body`` is True inside a workflow body. ``place`` names the place in messages.
    """

    in_body: bool = False
    #: a plain ``def`` body: what others await, it waits for
    blocking: bool = False
    place: str = "here"
    run_id: str

    def refuse(self, what: str, advice: str = "") -> WorkflowSandboxError:
        """The error that says that ``what`` is not possible in this place."""
        return WorkflowSandboxError(f"{what} is not possible {self.place}." + (f" {advice}" if advice else ""))

    # --- bodies ------------------------------------------------------------------------------------------------------

    def call_step(
        self, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        raise self.refuse(f"Calling the step {step.name} durably", "Only a workflow body does that.")

    def sleep(self, delay: float | timedelta | str | datetime) -> Coroutine[Any, Any, None]:
        raise self.refuse("sleep()", "It works in a workflow body; elsewhere use time.sleep() or asyncio.sleep().")

    def create_hook(self, *, token: str | None, is_webhook: bool, metadata: Any, options: dict[str, Any]) -> HookPort:
        raise self.refuse("Creating a hook", "Create it in the workflow body and pass its token on.")

    def webhook_url(self, token: str) -> str:
        raise self.refuse("A webhook's URL", "Read `webhook.url` in the workflow body and pass it on.")

    def now(self) -> datetime:
        raise self.refuse("now()", "It is the clock of a workflow body; elsewhere use django.utils.timezone.now().")

    def uuid4(self) -> UUID:
        raise self.refuse("uuid4()", "It works in a workflow body; elsewhere use uuid.uuid4().")

    def random(self) -> Random:
        raise self.refuse("random()", "It works in a workflow body; elsewhere use the module random.")

    def patched(self, patch: str) -> bool:
        raise self.refuse("patched()", "It works in a workflow body, whose code changes under live runs.")

    def start_child(
        self, workflow: Workflow[Any, Any], options: StartOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Coroutine[Any, Any, RunHandle[Any]]:
        raise self.refuse(f"Starting {workflow.name} as a child run", "Only a workflow body does that.")

    def child_result(self, run_id: str, timeout: float | timedelta | str | None) -> Coroutine[Any, Any, Any]:
        raise self.refuse("Waiting for a child run", "Only a workflow body does that.")

    def continue_as_new(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> BaseException:
        """What to raise so that the run ends and hands over to a new one with these arguments."""
        raise self.refuse("continue_as_new()", "It works in a workflow body.")

    # --- bodies that are a plain def ---------------------------------------------------------------------------------

    def settle(self, awaitable: Coroutine[Any, Any, Any]) -> Any:
        """The awaitable itself, where one can await; in a plain ``def`` body its result."""
        return awaitable

    def wait(self, awaitable: Any) -> Any:
        if iscoroutine(awaitable):
            awaitable.close()
        raise self.refuse("Waiting without `await`", "It is for workflows that are a plain `def`.")

    def spawn(self, call: Callable[[], Any]) -> Coroutine[Any, Any, Any]:
        """A coroutine that makes the call on a stack of its own."""
        raise self.refuse("Branching without `await`", "It is for workflows that are a plain `def`.")

    def open_plain(
        self, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """A coroutine that runs a plain ``def`` body."""
        raise self.refuse("Running a workflow's body")

    # --- bodies and steps --------------------------------------------------------------------------------------------

    def metadata(self) -> WorkflowMetadata:
        raise self.refuse("get_workflow_metadata()")

    def set_attributes(self, attributes: dict[str, str | None]) -> None:
        raise self.refuse("set_attributes()")

    def aset_attributes(self, attributes: dict[str, str | None]) -> Awaitable[None]:
        raise self.refuse("aset_attributes()")

    # --- steps -------------------------------------------------------------------------------------------------------

    def step_metadata(self) -> StepMetadata:
        raise self.refuse("get_step_metadata()", "It works in a step that a worker runs.")

    def write(self, run_id: str, stream: str, value: Any) -> None:
        raise self.refuse("Writing to a stream", "Write in a step; a body may pass the handle to one.")

    def awrite(self, run_id: str, stream: str, value: Any) -> Awaitable[None]:
        raise self.refuse("Writing to a stream", "Write in a step; a body may pass the handle to one.")

    def close_stream(self, run_id: str, stream: str) -> None:
        raise self.refuse("Closing a stream", "Close it in a step; a body may pass the handle to one.")

    def aclose_stream(self, run_id: str, stream: str) -> Awaitable[None]:
        raise self.refuse("Closing a stream", "Close it in a step; a body may pass the handle to one.")

    def respond(self, request: WebhookRequest, response: WebhookResponse) -> None:
        raise self.refuse("Answering a webhook", "Pass the request to a step and answer it there.")

    def arespond(self, request: WebhookRequest, response: WebhookResponse) -> Awaitable[None]:
        raise self.refuse("Answering a webhook", "Pass the request to a step and answer it there.")


#: set by whoever runs user code, in the context of that code
RUNTIME: ContextVar[Runtime | None] = ContextVar("django_workflows.runtime", default=None)


def current() -> Runtime | None:
    """Who runs the caller; None outside of bodies and of steps that a worker runs."""
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


# --- starting runs ---------------------------------------------------------------------------------------------------


def clean_attributes(given: Mapping[str, Any]) -> dict[str, str | None]:
    """Attributes as they are stored: text, or None to remove the key.

    Numbers, booleans, UUIDs, dates and times are written with ``str()``. Raises ``TypeError`` for other types and
    ``ValueError`` for keys of more than 64 characters or values of more than 256 bytes.
    """
    cleaned: dict[str, str | None] = {}
    for key, value in given.items():
        if not isinstance(key, str):
            raise TypeError(f"An attribute's key is a string, not {key!r}.")
        if not 0 < len(key) <= MAX_ATTRIBUTE_KEY:
            raise ValueError(f"An attribute's key has 1 to {MAX_ATTRIBUTE_KEY} characters; {key[:80]!r} does not.")
        cleaned[key] = None if value is None else _attribute_text(key, value)
    require_few(cleaned)
    return cleaned


def _attribute_text(key: str, value: Any) -> str:
    if isinstance(value, str):
        text = str.__str__(value)
    elif isinstance(value, (bool, int, float, Decimal, UUID, date, time)):
        text = str(value)
    else:
        raise TypeError(f"The attribute {key!r} takes text or a number, not {type(value).__name__}: use str(...).")
    if any(char == "\x00" or "\ud800" <= char <= "\udfff" for char in text):
        raise ValueError(f"The attribute {key!r} contains a NUL or a lone surrogate, which the database cannot search.")
    if len(text.encode()) > MAX_ATTRIBUTE_VALUE:
        raise ValueError(f"The attribute {key!r} has more than {MAX_ATTRIBUTE_VALUE} bytes. Store a reference instead.")
    return text


def _check_text(name: str, value: Any, limit: int) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} is a string, not {type(value).__name__}: use str(...).")
    if not 0 < len(value) <= limit:
        raise ValueError(f"{name} has 1 to {limit} characters, not {len(value)}.")
    if "\x00" in value:
        raise ValueError(f"{name} cannot contain NUL.")


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """How a run is started: the keywords of ``workflow.using()``. None: as the workflow or the settings say.

    ``run_after``: a delay in any form that ``sleep()`` takes, or an aware datetime. ``timeout``: a duration, from the
    moment the run may begin. ``detached``: not cancelled with its parent. ``about``: a model instance that the run is
    about. Malformed options raise ``TypeError`` or ``ValueError`` here, before anything is written.
    """

    idempotency_key: str | None = None
    queue: str | None = None
    run_after: float | timedelta | str | datetime | None = None
    priority: int | None = None
    timeout: float | timedelta | str | None = None
    attributes: dict[str, str] | None = None
    detached: bool | None = None
    about: Any = None

    def __post_init__(self) -> None:
        if self.idempotency_key is not None:
            _check_text("idempotency_key", self.idempotency_key, 255)
        if self.queue is not None:
            _check_text("queue", self.queue, 100)
        if self.priority is not None:
            if isinstance(self.priority, bool) or not isinstance(self.priority, int):
                raise TypeError(f"priority is a whole number, not {self.priority!r}.")
            if not -_INT32 <= self.priority < _INT32:
                raise ValueError(f"priority is a number of 32 bits; {self.priority} is not.")
        if self.run_after is not None:
            _named("run_after", durations.until, self.run_after, clock.now())
        if self.timeout is not None and not _named("timeout", durations.parse, self.timeout):
            raise ValueError("timeout is longer than zero; None means no limit.")
        if self.attributes is not None:
            cleaned = clean_attributes(self.attributes)
            kept = {key: value for key, value in cleaned.items() if value is not None}
            object.__setattr__(self, "attributes", kept)
        if self.detached is not None and not isinstance(self.detached, bool):
            raise TypeError(f"detached is True or False, not {self.detached!r}.")

    def merge(self, **given: Any) -> StartOptions:
        """These options with some of them replaced; attributes are merged key by key."""
        known = {field.name for field in fields(self)}
        if unknown := sorted(given.keys() - known):
            raise TypeError(f"using() has no option {unknown[0]!r}. Its options are: {', '.join(sorted(known))}.")
        if self.attributes and given.get("attributes"):
            given["attributes"] = {**self.attributes, **given["attributes"]}
        return replace(self, **given)

    def given(self) -> dict[str, Any]:
        """The options that are not None, by name."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in values if value is not None}


def _named(name: str, convert: Any, *values: Any) -> Any:
    try:
        return convert(*values)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None


class Client(Protocol):
    """What definitions and handles ask outside of a body: the services behind ``start()``, ``result()`` and so on.

    ``calls`` are ``(args, kwargs)`` pairs. Timeouts are in any form that ``sleep()`` takes, None waits for ever.
    """

    def start(
        self, workflow: Workflow[Any, Any], options: StartOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> RunHandle[Any]: ...

    def astart(
        self, workflow: Workflow[Any, Any], options: StartOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Coroutine[Any, Any, RunHandle[Any]]: ...

    def start_many(
        self,
        workflow: Workflow[Any, Any],
        options: StartOptions,
        calls: Sequence[tuple[Sequence[Any], Mapping[str, Any]]],
    ) -> list[RunHandle[Any]]: ...

    def astart_many(
        self,
        workflow: Workflow[Any, Any],
        options: StartOptions,
        calls: Sequence[tuple[Sequence[Any], Mapping[str, Any]]],
    ) -> Coroutine[Any, Any, list[RunHandle[Any]]]: ...

    def status(self, run_id: str) -> str: ...

    def astatus(self, run_id: str) -> Coroutine[Any, Any, str]: ...

    def result(self, run_id: str, timeout: float | timedelta | str | None) -> Any: ...

    def aresult(self, run_id: str, timeout: float | timedelta | str | None) -> Coroutine[Any, Any, Any]: ...

    def cancel(self, run_id: str, reason: str | None, force: bool) -> None: ...

    def acancel(self, run_id: str, reason: str | None, force: bool) -> Coroutine[Any, Any, None]: ...

    def stream(
        self, run_id: str, name: str, start_index: int, timeout: float | timedelta | str | None
    ) -> Iterator[Any]: ...

    def astream(
        self, run_id: str, name: str, start_index: int, timeout: float | timedelta | str | None
    ) -> AsyncIterator[Any]: ...


_client: Client | None = None


def install_client(client: Client | None) -> None:
    """Say who starts runs in this process. Called when the app registry is ready."""
    global _client
    _client = client


def client() -> Client:
    """The installed client. Raises ``RuntimeError`` with advice where Django is not set up."""
    if _client is None:
        raise RuntimeError(
            "django_workflows is not ready to start runs: add 'django_workflows' to INSTALLED_APPS, and call "
            "django.setup() first when this is not a Django process."
        )
    return _client
