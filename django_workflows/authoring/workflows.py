"""``@workflow``: durable functions, and the ways to start a run of one."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Generic, overload

from ..exceptions import WorkflowSandboxError
from ..values.durations import Duration
from ..values.validation import check_limit, check_text
from .client import client
from .definitions import Definition, Definitions, P, R
from .handles import RunHandle
from .options import MAX_QUEUE, StartOptions
from .runtime import body, require, sync_body
from .schedules import ScheduleSpec, check_schedules

Calls = Sequence[tuple[Sequence[Any], Mapping[str, Any]]]


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
        self.queue = check_text("queue", queue, MAX_QUEUE, printable=True)
        self.timeout = check_limit("timeout", timeout)
        self.retention = check_limit("retention", retention)
        self.api = bool(api)
        self.schedules = check_schedules(schedules)

    def open(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Coroutine[Any, Any, Any]:
        """The body, not yet begun. For the engine: every kind of workflow function becomes a coroutine here."""
        if self.is_async:
            return self.fn(*args, **kwargs)  # type: ignore[no-any-return]
        return require(f"The body of {self.name}").open_sync(self.fn, args, kwargs)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        if (runtime := body()) is None:
            raise TypeError(
                f"A workflow is not called: use {self.name}.start(...) to start a run of it, or .fn(...) for the bare "
                "function."
            )
        return runtime.settle(self.open(args, kwargs))  # type: ignore[no-any-return]

    def using(self, **options: Any) -> BoundWorkflow[P, R]:
        """This workflow with start options; see :class:`~django_workflows.authoring.options.StartOptions`."""
        return BoundWorkflow(self, StartOptions().merge(**options))

    def start(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R]:
        """Start a run. Inside ``transaction.atomic()`` it commits or rolls back with it; its id is valid at once.

        Raises ``TypeError`` for arguments that do not fit, ``SerializationError`` for those that cannot be stored.
        """
        return BoundWorkflow(self, _DEFAULTS).start(*args, **kwargs)

    def astart(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[RunHandle[R]]:
        """As :meth:`start`, in async code. In a workflow body: start a child run."""
        return BoundWorkflow(self, _DEFAULTS).astart(*args, **kwargs)

    def start_many(self, calls: Calls) -> list[RunHandle[R]]:
        """Start a run for each ``(args, kwargs)``, in one transaction: all or none. Returns the handles in order."""
        return BoundWorkflow(self, _DEFAULTS).start_many(calls)

    def astart_many(self, calls: Calls) -> Awaitable[list[RunHandle[R]]]:
        """As :meth:`start_many`, in async code. In a workflow body: start child runs, in order."""
        return BoundWorkflow(self, _DEFAULTS).astart_many(calls)


class BoundWorkflow(Generic[P, R]):
    """A workflow with start options, as ``workflow.using(...)`` returns it.

    Starting raises ``TypeError`` for arguments that do not fit the function, ``SerializationError`` and
    ``PayloadTooLargeError`` for those that cannot be stored.
    """

    __slots__ = ("options", "workflow")

    def __init__(self, workflow: Workflow[P, R], options: StartOptions) -> None:
        self.workflow, self.options = workflow, options

    def using(self, **options: Any) -> BoundWorkflow[P, R]:
        """The same workflow with these options added or replaced; attributes are merged key by key.

        Raises ``TypeError`` for unknown options, ``TypeError`` or ``ValueError`` for malformed values.
        """
        return BoundWorkflow(self.workflow, self.options.merge(**options))

    def start(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R]:
        """Start a run with these arguments. Inside ``transaction.atomic()`` it commits or rolls back with it.

        In a body that is a plain ``def``: start a child run. In an ``async def`` body it raises
        ``WorkflowSandboxError``; use :meth:`astart` there.
        """
        if (runtime := sync_body()) is not None:
            self.workflow.check_arguments(args, kwargs)
            return runtime.start_child(self.workflow, self.options, args, kwargs)  # type: ignore[return-value]
        self._refuse_in_body("start")
        self.workflow.check_arguments(args, kwargs)
        return client().start(self.workflow, self.options, args, kwargs)  # type: ignore[no-any-return]

    def astart(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[RunHandle[R]]:
        """As :meth:`start`, in async code. In a workflow body: start a child run, recorded when it is awaited."""
        self.workflow.check_arguments(args, kwargs)
        if (runtime := body()) is not None:
            return runtime.start_child(self.workflow, self.options, args, kwargs)
        return client().astart(self.workflow, self.options, args, kwargs)

    def start_many(self, calls: Calls) -> list[RunHandle[R]]:
        """Start a run for each ``(args, kwargs)``, in one transaction: all or none. Returns the handles in order."""
        if sync_body() is not None:
            return [self.start(*args, **kwargs) for args, kwargs in self._checked(calls)]
        self._refuse_in_body("start_many")
        return client().start_many(self.workflow, self.options, self._checked(calls))

    def astart_many(self, calls: Calls) -> Awaitable[list[RunHandle[R]]]:
        """As :meth:`start_many`, in async code. In a workflow body: start child runs, in order."""
        checked = self._checked(calls)
        if (runtime := body()) is None:
            return client().astart_many(self.workflow, self.options, checked)
        if runtime.is_sync:
            raise WorkflowSandboxError(f"This body is a plain def: use {self.workflow.name}.start_many(...).")
        children = [runtime.start_child(self.workflow, self.options, tuple(a), dict(k)) for a, k in checked]
        return _start_all(children)

    def _checked(self, calls: Calls) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
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
        if body() is not None:
            raise WorkflowSandboxError(
                f"{self.workflow.name}.{verb}() would block the workflow body: use "
                f"`await {self.workflow.name}.a{verb}(...)` to start a child run."
            )

    def __repr__(self) -> str:
        return f"<workflow {self.workflow.name} using {self.options.given()}>"


async def _start_all(children: list[Coroutine[Any, Any, RunHandle[Any]]]) -> list[RunHandle[Any]]:
    return [await child for child in children]


_DEFAULTS = StartOptions()
WORKFLOWS: Definitions[Workflow[Any, Any]] = Definitions()


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
        WORKFLOWS.add(definition)
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
