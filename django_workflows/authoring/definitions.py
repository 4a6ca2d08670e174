"""``@workflow`` and ``@step``: functions with a name under which every process finds them."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from importlib.util import find_spec
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast, overload

from ..exceptions import WorkflowSandboxError
from ..values import durations
from ..values.retry import RetryPolicy
from . import registry
from . import runtime as context
from .handles import RunHandle
from .runtime import StartOptions
from .schedules import ScheduleSpec, check_schedules

P = ParamSpec("P")
R = TypeVar("R")
Duration = float | timedelta | str

_MAX_NAME = 255
_MAX_QUEUE = 100
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Definition(Generic[P, R]):
    """A function under a name. Copies of a definition are the definition itself."""

    kind: str

    def __init__(self, fn: Callable[..., Any], name: str | None) -> None:
        self.name = _name(self.kind, fn, name)
        self.fn = fn
        self.signature = _signature(fn)
        module = getattr(fn, "__module__", None) or type(fn).__module__
        self.origin = (module, getattr(fn, "__qualname__", self.name))
        code = getattr(inspect.unwrap(fn), "__code__", None)
        self.place = f"{module}:{code.co_firstlineno}" if code else module
        self._positional = _plain_arity(self.signature)
        functools.update_wrapper(cast(Any, self), fn, updated=())

    def check_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise ``TypeError``, as the call itself would, if the arguments do not fit the function."""
        if not kwargs and self._positional[0] <= len(args) <= self._positional[1]:
            return
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}() {error}") from None

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def _signature(fn: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(fn)
    except ValueError:  # some functions written in C do not say
        return inspect.Signature([inspect.Parameter(kind.name.lower(), kind) for kind in _VARIADIC])


def _plain_arity(signature: inspect.Signature) -> tuple[int, int]:
    """How few and how many positional arguments fit by themselves; (1, 0) where only ``bind()`` can tell."""
    parameters = signature.parameters.values()
    if any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters):
        return 1, 0
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    required = sum(p.default is p.empty for p in positional)
    unlimited = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return required, 2**31 if unlimited else len(positional)


def _name(kind: str, fn: Any, given: str | None) -> str:
    if not callable(fn) or isinstance(fn, type | staticmethod | classmethod):
        hint = f" Put @{kind} below @staticmethod." if isinstance(fn, staticmethod | classmethod) else ""
        raise TypeError(f"@{kind} takes a function, not {fn!r}.{hint}")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise TypeError(f"@{kind} takes a function that returns its result; {fn.__qualname__} is a generator.")
    if given is None:
        qualname = getattr(fn, "__qualname__", None)
        if qualname is None or "<lambda>" in qualname:
            raise TypeError(f"{fn!r} has no name by which another process could find it: use @{kind}(name=...).")
        given = f"{fn.__module__}.{qualname}"
    return _text("name", given, _MAX_NAME)


def _text(option: str, value: Any, limit: int) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{option} is a string, not {value!r}.")
    if not 0 < len(value) <= limit or not value.isprintable():
        raise ValueError(f"{option} has 1 to {limit} printable characters; {value[:60]!r} does not.")
    return value


def _duration(option: str, value: Duration | None) -> timedelta | None:
    if value is None:
        return None
    try:
        delta = durations.parse(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{option}: {error}") from None
    if not delta:
        raise ValueError(f"{option} is longer than zero; None means no limit.")
    return delta


# --- steps -----------------------------------------------------------------------------------------------------------


class Step(Definition[P, R]):
    """What touches the world: retried when it fails, its result recorded once.

    Called in a workflow body it gives a coroutine for its recorded result; anywhere else it is the plain function.
    """

    kind = "step"

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        name: str | None,
        policy: RetryPolicy,
        timeout: Duration | None,
        atomic: bool,
        using: str | None,
        queue: str | None,
    ) -> None:
        super().__init__(fn, name)
        self.is_async = inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)
        if atomic and self.is_async:
            raise TypeError(
                f"{self.name} cannot be atomic: Django has no transactions in async code. "
                "Make it a plain def; workers run those on threads."
            )
        if using is not None and not atomic:
            raise TypeError(f"{self.name}: using= names the database of atomic=True; it does nothing without it.")
        self.policy = policy
        self.timeout = _duration("timeout", timeout)
        self.atomic = bool(atomic)
        self.using = using if using is None else _text("using", using, _MAX_NAME)
        self.queue = queue if queue is None else _text("queue", queue, _MAX_QUEUE)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        runtime = context.RUNTIME.get()
        if runtime is None or not runtime.in_body:
            return self.fn(*args, **kwargs)  # type: ignore[no-any-return]  # the plain function, as typed there
        self.check_arguments(args, kwargs)
        return runtime.call_step(self, args, kwargs)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the plain function, here and now: no retries, nothing recorded.

        Raises ``TypeError`` for an ``async def`` step, which :meth:`acall` runs; ``WorkflowSandboxError`` in a body. In
        a body that is a plain ``def`` it is the step itself, typed for its result.
        """
        if (runtime := context.body()) is not None and runtime.blocking:
            return self(*args, **kwargs)  # type: ignore[return-value]
        if self.is_async:
            raise TypeError(f"{self.name} is async: use `await {self.name}.acall(...)`.")
        self._refuse_in_body()
        return self.fn(*args, **kwargs)  # type: ignore[no-any-return]

    async def acall(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the plain function, here and now; a ``def`` step on a thread."""
        self._refuse_in_body()
        if self.is_async:
            return await self.fn(*args, **kwargs)  # type: ignore[no-any-return]
        return await asyncio.to_thread(self.fn, *args, **kwargs)

    def _refuse_in_body(self) -> None:
        if context.body() is not None:
            raise WorkflowSandboxError(
                f"A workflow body cannot run {self.name} in place: use `await {self.name}(...)`."
            )


@overload
def step(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
@overload
def step(fn: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    max_retries: int = 3,
    retry_delay: Duration = 1.0,
    backoff: float = 2.0,
    max_retry_delay: Duration = 300,
    jitter: bool = False,
    timeout: Duration | None = None,
    atomic: bool = False,
    using: str | None = None,
    queue: str | None = None,
) -> _StepDecorator: ...
def step(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    max_retries: int = 3,
    retry_delay: Duration = 1.0,
    backoff: float = 2.0,
    max_retry_delay: Duration = 300,
    jitter: bool = False,
    timeout: Duration | None = None,
    atomic: bool = False,
    using: str | None = None,
    queue: str | None = None,
) -> Any:
    """Make a function a step, bare or with options. Durations are seconds, ``timedelta`` or text (``"30s"``).

    ``max_retries=3`` means at most 4 attempts, ``retry_delay * backoff ** n`` apart, at most ``max_retry_delay``;
    ``jitter`` takes a random part of that. ``timeout`` limits one attempt. ``atomic`` commits what the step writes
    through the ORM together with its result, on the database ``using``. ``queue``: by default the run's own.
    """
    policy = RetryPolicy(max_retries, retry_delay, backoff, max_retry_delay, jitter)  # type: ignore[arg-type]

    def decorate(fn: Callable[..., Any]) -> Step[Any, Any]:
        definition: Step[Any, Any] = Step(
            fn, name=name, policy=policy, timeout=timeout, atomic=atomic, using=using, queue=queue
        )
        registry.register_step(definition)
        return definition

    return decorate if fn is None else decorate(fn)


class _StepDecorator:
    """The type of ``step(...)`` with options."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Step[P, R]: ...
    def __call__(self, fn: Any, /) -> Any:
        raise NotImplementedError


# --- workflows -------------------------------------------------------------------------------------------------------


class Workflow(Definition[P, R]):
    """A durable function. ``start()`` begins a run of it; called in another body it runs inline, in that run.

    An ``async def``, or a plain ``def`` where the package ``greenlet`` is installed.
    """

    kind = "workflow"

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        name: str | None,
        queue: str,
        timeout: Duration | None,
        retention: Duration | None,
        api: bool,
        schedules: Sequence[ScheduleSpec] = (),
    ) -> None:
        super().__init__(fn, name)
        self.is_async = inspect.iscoroutinefunction(fn)
        if not self.is_async and find_spec("greenlet") is None:
            raise TypeError(
                f"@workflow takes an `async def`; {self.name} is a plain def, which needs the package greenlet. "
                "Install django-durable-workflows[greenlet], or have it await its steps: `await some_step(...)`."
            )
        self.queue = _text("queue", queue, _MAX_QUEUE)
        self.timeout = _duration("timeout", timeout)
        self.retention = _duration("retention", retention)
        self.api = bool(api)
        self.schedules = check_schedules(schedules)

    def open(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Coroutine[Any, Any, Any]:
        """The body, not yet begun. For the engine: every kind of workflow function becomes a coroutine here."""
        if self.is_async:
            return self.fn(*args, **kwargs)  # type: ignore[no-any-return]
        return context.require(f"The body of {self.name}").open_plain(self.fn, args, kwargs)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        if (runtime := context.body()) is None:
            raise TypeError(
                f"A workflow is not called: use {self.name}.start(...) to start a run of it, or .fn(...) for the bare "
                "function."
            )
        return runtime.settle(self.open(args, kwargs))  # type: ignore[no-any-return]

    def using(self, **options: Any) -> BoundWorkflow[P, R]:
        """This workflow with start options; see :class:`~django_workflows.authoring.runtime.StartOptions`."""
        return BoundWorkflow(self, StartOptions().merge(**options))

    def start(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R]:
        """Start a run. Inside ``transaction.atomic()`` it commits or rolls back with it; its id is valid at once.

        Raises ``TypeError`` for arguments that do not fit, ``SerializationError`` for those that cannot be stored.
        """
        return BoundWorkflow(self, _DEFAULTS).start(*args, **kwargs)

    def astart(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[RunHandle[R]]:
        """As :meth:`start`, in async code. In a workflow body: start a child run."""
        return BoundWorkflow(self, _DEFAULTS).astart(*args, **kwargs)

    def start_many(self, calls: Sequence[tuple[Sequence[Any], Mapping[str, Any]]]) -> list[RunHandle[R]]:
        """Start a run for each ``(args, kwargs)``, in one transaction. Returns the handles in order."""
        return BoundWorkflow(self, _DEFAULTS).start_many(calls)

    def astart_many(self, calls: Sequence[tuple[Sequence[Any], Mapping[str, Any]]]) -> Awaitable[list[RunHandle[R]]]:
        return BoundWorkflow(self, _DEFAULTS).astart_many(calls)


class BoundWorkflow(Generic[P, R]):
    """A workflow and how to start it. ``using()`` again adds to or replaces the options."""

    __slots__ = ("options", "workflow")

    def __init__(self, workflow: Workflow[P, R], options: StartOptions) -> None:
        self.workflow, self.options = workflow, options

    def using(self, **options: Any) -> BoundWorkflow[P, R]:
        return BoundWorkflow(self.workflow, self.options.merge(**options))

    def start(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R]:
        if (runtime := context.body()) is not None and runtime.blocking:
            self.workflow.check_arguments(args, kwargs)
            return runtime.start_child(self.workflow, self.options, args, kwargs)  # type: ignore[return-value]
        self._refuse_in_body("start")
        self.workflow.check_arguments(args, kwargs)
        return context.client().start(self.workflow, self.options, args, kwargs)

    def astart(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[RunHandle[R]]:
        self.workflow.check_arguments(args, kwargs)
        if (runtime := context.body()) is not None:
            return runtime.start_child(self.workflow, self.options, args, kwargs)
        return context.client().astart(self.workflow, self.options, args, kwargs)

    def start_many(self, calls: Sequence[tuple[Sequence[Any], Mapping[str, Any]]]) -> list[RunHandle[R]]:
        if (runtime := context.body()) is not None and runtime.blocking:
            return [self.start(*args, **kwargs) for args, kwargs in self._checked(calls)]
        self._refuse_in_body("start_many")
        return context.client().start_many(self.workflow, self.options, self._checked(calls))

    def astart_many(self, calls: Sequence[tuple[Sequence[Any], Mapping[str, Any]]]) -> Awaitable[list[RunHandle[R]]]:
        checked = self._checked(calls)
        if (runtime := context.body()) is None:
            return context.client().astart_many(self.workflow, self.options, checked)
        if runtime.blocking:
            raise WorkflowSandboxError(f"This body is a plain def: use {self.workflow.name}.start_many(...).")
        children = [runtime.start_child(self.workflow, self.options, tuple(a), dict(k)) for a, k in checked]
        return _start_all(children)

    def _checked(
        self, calls: Sequence[tuple[Sequence[Any], Mapping[str, Any]]]
    ) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        checked = []
        for call in calls:
            try:
                args, kwargs = call
                pair = tuple(args), dict(kwargs)
            except (TypeError, ValueError):
                raise TypeError(f"start_many() takes (args, kwargs) pairs, as ((1,), {{}}), not {call!r}.") from None
            self.workflow.check_arguments(*pair)
            checked.append(pair)
        return checked

    def _refuse_in_body(self, verb: str) -> None:
        if context.body() is not None:
            raise WorkflowSandboxError(
                f"{self.workflow.name}.{verb}() would block the workflow body: use "
                f"`await {self.workflow.name}.a{verb}(...)` to start a child run."
            )

    def __repr__(self) -> str:
        return f"<workflow {self.workflow.name} using {self.options.given()}>"


async def _start_all(children: list[Coroutine[Any, Any, RunHandle[Any]]]) -> list[RunHandle[Any]]:
    return [await child for child in children]


_DEFAULTS = StartOptions()


@overload
def workflow(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
@overload
def workflow(fn: Callable[P, R], /) -> Workflow[P, R]: ...
@overload
def workflow(
    *,
    name: str | None = None,
    queue: str = "default",
    timeout: Duration | None = None,
    retention: Duration | None = None,
    api: bool = False,
    schedules: Sequence[ScheduleSpec] = (),
) -> _WorkflowDecorator: ...
def workflow(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    queue: str = "default",
    timeout: Duration | None = None,
    retention: Duration | None = None,
    api: bool = False,
    schedules: Sequence[ScheduleSpec] = (),
) -> Any:
    """Make an ``async def`` (or a plain ``def``) a workflow, bare or with options.

    Durations are seconds, ``timedelta`` or text (``"2h"``).

    ``timeout`` limits a run, ``retention`` says how long ended runs are kept, ``api`` lets the REST API start it.
    ``schedules``: a list of ``cron(...)`` and ``every(...)``, kept by the workers.
    """

    def decorate(fn: Callable[..., Any]) -> Workflow[Any, Any]:
        definition: Workflow[Any, Any] = Workflow(
            fn, name=name, queue=queue, timeout=timeout, retention=retention, api=api, schedules=schedules
        )
        registry.register_workflow(definition)
        return definition

    return decorate if fn is None else decorate(fn)


class _WorkflowDecorator:
    """The type of ``workflow(...)`` with options."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Workflow[P, R]: ...
    def __call__(self, fn: Any, /) -> Any:
        raise NotImplementedError
