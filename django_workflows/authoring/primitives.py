"""What a workflow body (and in part a step) may ask for: time, hooks, metadata, streams.

Each function asks the current :class:`~django_workflows.authoring.runtime.Runtime`; outside of a body or a step that a worker
runs they raise :class:`~django_workflows.exceptions.WorkflowSandboxError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine, Generator, Iterator
from datetime import datetime
from random import Random
from typing import Any, NoReturn, Self, TypeVar
from uuid import UUID

from ..exceptions import WorkflowSandboxError
from ..serialization import register_type
from ..values import ids
from ..values.durations import Duration
from ..values.validation import check_text
from .http import WebhookRequest, WebhookResponse
from .options import clean_attributes
from .runtime import HookPort, Runtime, StepMetadata, WorkflowMetadata, current, require
from .signatures import Signature

T = TypeVar("T")
_MAX_STREAM, _MAX_PATCH = 255, 200

# --- time and chance -------------------------------------------------------------------------------------------------


def sleep(delay: Duration | datetime) -> Coroutine[Any, Any, None]:
    """Wait, durably and without holding a worker.

    ``delay``: seconds, ``timedelta``, ``"90s" "5m" "1h 30m" "3d" "2w"``, or an aware datetime (past: returns at once).
    Raises ``ValueError`` for what is negative, not finite or not readable, ``TypeError`` for other types.
    """
    return require("sleep()").sleep(delay)


def now() -> datetime:
    """The body's clock, an aware datetime in UTC: the time of the last event it has seen. The same on every replay."""
    return require("now()").now()


def uuid4() -> UUID:
    """A random UUID from the run's own seed: the same on every replay."""
    return require("uuid4()").uuid4()


def random() -> Random:
    """The run's own random numbers: ``random().choice(...)``. The same on every replay."""
    return require("random()").random()


async def race(*aws: Awaitable[Any]) -> Any:
    """The result (or the exception) of the first to finish. The others are cancelled, and have ended on return."""
    if not aws:
        raise ValueError("race() takes at least one awaitable.")
    tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(aw) for aw in aws]
    finished: asyncio.Future[asyncio.Future[Any]] = asyncio.get_running_loop().create_future()

    def settle(task: asyncio.Future[Any]) -> None:
        if not task.cancelled():
            task.exception()  # a loser's exception goes nowhere: mark it as retrieved
        if not finished.done():
            finished.set_result(task)

    for task in tasks:
        task.add_done_callback(settle)
    try:
        winner = await finished
    except asyncio.CancelledError:
        await _cancel(tasks)
        raise
    await _cancel(tasks)
    return winner.result()


async def _cancel(tasks: list[asyncio.Future[Any]]) -> None:
    pending = [task for task in tasks if not task.done()]
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending)


# --- hooks -----------------------------------------------------------------------------------------------------------


class Hook:
    """A named place where the run waits for payloads from outside.

    ``await hook`` gives the next payload, first in, first out; ``async for`` gives them until the hook is disposed.
    ``with`` and ``async with`` dispose it on exit. Awaiting raises ``HookConflictError`` when another active hook has
    the token, ``HookNotFoundError`` after disposal. For ``asyncio.create_task`` use ``asyncio.ensure_future(hook)``.
    """

    def __init__(self, runtime: Runtime, port: HookPort, metadata: Any) -> None:
        self._runtime, self._port = runtime, port
        self.metadata = metadata

    @property
    def token(self) -> str:
        """What ``resume_hook()`` takes. Knowing it is enough to resume the hook."""
        return self._port.token

    def __await__(self) -> Generator[Any, None, Any]:
        return self._next().__await__()

    def __aiter__(self) -> AsyncIterator[Any]:
        return _Payloads(self)

    def dispose(self) -> None:
        """Take no more payloads and free the token. Disposing twice is silent."""
        self._inside().dispose()

    def get_conflict(self) -> Coroutine[Any, Any, str | None]:
        """Wait until the hook is registered: None, or the id of the run that owns the token (maybe this one)."""
        port = self._inside()
        conflict: Coroutine[Any, Any, str | None] = require("get_conflict()").settle(port.conflict())
        return conflict

    def wait(self) -> Any:
        """In a workflow that is a plain ``def``: the next payload, as ``await hook`` gives it."""
        return require("hook.wait()").wait(self._next())

    def __iter__(self) -> Iterator[Any]:
        """In a workflow that is a plain ``def``: payloads until the hook is disposed, as ``async for`` gives them."""
        while True:
            try:
                payload = require("Going through a hook").wait(self._next(iterating=True))
            except StopAsyncIteration:
                return
            yield payload

    def _next(self, *, iterating: bool = False) -> Coroutine[Any, Any, Any]:
        return self._inside().receive(iterating=iterating)

    def _inside(self) -> HookPort:
        runtime = current()
        if runtime is not self._runtime and not (
            runtime is not None and runtime.in_body and runtime.run_id == self._runtime.run_id
        ):
            raise WorkflowSandboxError(
                "A hook belongs to the workflow body that created it. Elsewhere, resume it by its token: "
                "api.resume_hook(hook.token, payload)."
            )
        return self._port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.dispose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.dispose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # not the token: it opens the door, and representations end up in logs


class _Payloads(AsyncIterator[Any]):
    def __init__(self, hook: Hook) -> None:
        self._hook = hook

    async def __anext__(self) -> Any:
        return await self._hook._next(iterating=True)


class Webhook(Hook):
    """A hook over HTTP: each request to ``url`` is a payload, a :class:`~django_workflows.authoring.http.WebhookRequest`."""

    @property
    def url(self) -> str:
        """Where to deliver. It follows ``BASE_URL``: pass it on, but do not let the body decide anything by it."""
        self._inside()
        return self._runtime.webhook_url(self.token)


def create_hook(token: str | None = None, *, metadata: Any = None, schema: Any = None) -> Hook:
    """A hook, at once; it is registered when the body next waits.

    ``token``: 1 to 255 characters of ``A-Z a-z 0-9 . _ ~ : @ + = , -``; None makes a secret one. ``schema``: a DRF
    serializer class, importable from a module, that validates payloads: what it refuses never reaches the body.
    """
    options = {} if schema is None else {"schema": _path(schema)}
    runtime, port = _create(token, is_webhook=False, metadata=metadata, options=options)
    return Hook(runtime, port, metadata)


def create_webhook(
    *,
    respond_with: WebhookResponse | str | None = None,
    metadata: Any = None,
    token: str | None = None,
    verify: Signature | str | None = None,
) -> Webhook:
    """A hook that is reached by HTTP under its ``url``.

    ``respond_with``: None answers 202, a ``WebhookResponse`` is sent at once, ``"manual"`` holds the caller until a
    step calls ``request.respond_with(...)``. ``verify``: a ``signatures.Signature``, or text such as ``"stripe"`` or
    ``"stripe:shop"``: requests without a valid signature get 401 and never reach the body, and a delivery that the
    sender repeats arrives once.
    """
    if not (respond_with is None or respond_with == "manual" or isinstance(respond_with, WebhookResponse)):
        raise ValueError(f'respond_with is None, "manual" or a WebhookResponse, not {respond_with!r}.')
    signature = None if verify is None else Signature.parse(verify).to_options()
    given = {"respond_with": respond_with, "verify": signature}
    options = {name: value for name, value in given.items() if value is not None}
    runtime, port = _create(token, is_webhook=True, metadata=metadata, options=options)
    return Webhook(runtime, port, metadata)


def _create(token: str | None, *, is_webhook: bool, metadata: Any, options: dict[str, Any]) -> tuple[Runtime, HookPort]:
    runtime = require("create_webhook()" if is_webhook else "create_hook()")
    if token is not None:
        ids.validate_token(token)
    return runtime, runtime.create_hook(token=token, is_webhook=is_webhook, metadata=metadata, options=options)


def _path(schema: Any) -> str:
    """The dotted path by which the process that receives a payload finds the serializer."""
    if isinstance(schema, str):
        return schema
    if not isinstance(schema, type):
        raise TypeError(f"schema is a serializer class, not {schema!r}: leave out the parentheses.")
    if "<locals>" in schema.__qualname__:
        raise ValueError(f"{schema.__qualname__} is inside a function: no other process could find it. Move it out.")
    return f"{schema.__module__}.{schema.__qualname__}"


# --- the run and the step --------------------------------------------------------------------------------------------


def get_workflow_metadata() -> WorkflowMetadata:
    """``run_id``, ``workflow_name``, ``started_at`` and ``attributes`` of the run; in a body or a step."""
    return require("get_workflow_metadata()").metadata()


def get_step_metadata() -> StepMetadata:
    """``step_id`` (the idempotency key), ``step_name``, ``run_id``, ``attempt``, ``started_at``, ``cancelled``."""
    return require("get_step_metadata()").step_metadata()


def set_attributes(**attributes: Any) -> None:
    """Set searchable metadata of the run; in a body or a ``def`` step. None removes a key.

    Keys of up to 64 characters, values of up to 256 bytes as text, 64 per run; else ``ValueError`` or ``TypeError``.
    """
    require("set_attributes()").set_attributes(clean_attributes(attributes))


def aset_attributes(**attributes: Any) -> Awaitable[None]:
    """As :func:`set_attributes`, in an ``async def`` step."""
    return require("aset_attributes()").aset_attributes(clean_attributes(attributes))


def patched(patch: str) -> bool:
    """Whether this run goes through the new code: True where it reached this line under code that has the patch.

    Lets code change under live runs: ``if patched("free-shipping"): ... else: ...`` keeps the old way for runs that
    have passed the line already. ``patch``: 1 to 200 characters, its name within the workflow.
    """
    check_text("A patch's name", patch, _MAX_PATCH)
    return require("patched()").patched(patch)


def continue_as_new(*args: Any, **kwargs: Any) -> NoReturn:
    """End this run and hand over to a new one of the same workflow, with these arguments and an empty log.

    For workflows that live indefinitely. It ends the body like ``return``; do not catch ``BaseException`` around it.
    """
    raise require("continue_as_new()").continue_as_new(args, kwargs)


# --- streams ---------------------------------------------------------------------------------------------------------


class Writable:
    """The writing end of a stream of a run. A body can only pass it on; steps write.

    ``write(value)`` and ``close()`` in a ``def`` step, ``awrite`` and ``aclose`` in an ``async def`` one. Writing after
    the close raises ``StreamClosedError``.
    """

    __slots__ = ("name", "run_id")

    def __init__(self, run_id: str, name: str) -> None:
        self.run_id, self.name = run_id, name

    def write(self, value: Any) -> None:
        """Append ``value`` to the stream. It is saved with others, at the latest before the step's end."""
        require("Writing to a stream").write(self.run_id, self.name, value)

    def awrite(self, value: Any) -> Awaitable[None]:
        """As :meth:`write`, in an ``async def`` step."""
        return require("Writing to a stream").awrite(self.run_id, self.name, value)

    def close(self) -> None:
        """End the stream: readers stop after the last value. Closing twice is silent."""
        require("Closing a stream").close_stream(self.run_id, self.name)

    def aclose(self) -> Awaitable[None]:
        """As :meth:`close`, in an ``async def`` step."""
        return require("Closing a stream").aclose_stream(self.run_id, self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Writable) and (other.run_id, other.name) == (self.run_id, self.name)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Writable {self.name!r} of {self.run_id}>"


register_type(
    Writable,
    encode=lambda writable: [writable.run_id, writable.name],
    decode=lambda content: Writable(*content),
    name="writable",
)


def get_writable(name: str = "default") -> Writable:
    """The run's stream of this name (1 to 255 characters), to write to in a step or to pass on from a body."""
    check_text("A stream's name", name, _MAX_STREAM)
    return Writable(require("get_writable()").run_id, name)


__all__ = [
    "Hook",
    "StepMetadata",
    "Webhook",
    "WebhookRequest",
    "WebhookResponse",
    "WorkflowMetadata",
    "Writable",
    "aset_attributes",
    "continue_as_new",
    "create_hook",
    "create_webhook",
    "get_step_metadata",
    "get_workflow_metadata",
    "get_writable",
    "now",
    "patched",
    "race",
    "random",
    "set_attributes",
    "sleep",
    "uuid4",
]
