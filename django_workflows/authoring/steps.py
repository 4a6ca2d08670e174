"""``@step``: what touches the world."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, overload

from ..exceptions import WorkflowSandboxError
from ..values.durations import Duration
from ..values.retry import RetryPolicy
from ..values.validation import check_limit, check_text
from .definitions import MAX_NAME, Definition, Definitions, P, R
from .options import MAX_QUEUE
from .runtime import RUNTIME, body, sync_body


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
        self.timeout = check_limit("timeout", timeout)
        self.atomic = bool(atomic)
        self.using = using if using is None else check_text("using", using, MAX_NAME, printable=True)
        self.queue = queue if queue is None else check_text("queue", queue, MAX_QUEUE, printable=True)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        runtime = RUNTIME.get()
        if runtime is None or not runtime.in_body:
            return self.fn(*args, **kwargs)  # type: ignore[no-any-return]  # the plain function, as typed there
        self.check_arguments(args, kwargs)
        return runtime.call_step(self, args, kwargs)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the plain function, here and now: no retries, nothing recorded.

        Raises ``TypeError`` for an ``async def`` step, which :meth:`acall` runs; ``WorkflowSandboxError`` in a body. In
        a body that is a plain ``def`` it is the step itself, typed for its result.
        """
        if sync_body() is not None:
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
        if body() is not None:
            raise WorkflowSandboxError(
                f"A workflow body cannot run {self.name} in place: use `await {self.name}(...)`."
            )


STEPS: Definitions[Step[Any, Any]] = Definitions()


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
        STEPS.add(definition)
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
