"""An asyncio event loop without a world: callbacks in order of arrival, time from the log, nothing else.

``call_soon`` appends to a queue that :meth:`DurableLoop.drain` empties. ``call_later`` and ``call_at``, and with them
``asyncio.sleep``, ``timeout`` and ``wait_for``, become durable waits. Every other door of a loop raises
:class:`~django_workflows.exceptions.WorkflowSandboxError`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextvars import Context, copy_context
from datetime import datetime
from typing import Any, Protocol

from .futures import DurableFuture, DurableTask
from .sandbox import guards, refusal

logger = logging.getLogger("django_workflows.engine")

_swap_current_task: Any = getattr(asyncio.tasks, "_swap_current_task", None)  # from Python 3.12


def _refuse(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise refusal(f"asks its event loop for {name}()")

    method.__name__ = name
    return method


#: a loop that refuses everything; what a body may have is added below
_Closed: Any = type(
    "_Closed",
    (asyncio.AbstractEventLoop,),
    {
        name: _refuse(name)
        for name, value in vars(asyncio.AbstractEventLoop).items()
        if callable(value) and not name.startswith("_")
    },
)


class Host(Protocol):
    """What the loop asks the body's runtime."""

    clock: datetime

    def elapsed(self) -> float:
        """Seconds of the logical clock since the run started."""

    def due_at(self, when: float) -> datetime:
        """The time at which :meth:`elapsed` is ``when``, to the microsecond."""

    def open_wait(self, due_at: datetime, fire: Callable[[], None]) -> str: ...

    def abandon_wait(self, correlation_id: str) -> None: ...


class _Ready(asyncio.Handle):
    """A callback in the queue. The base class would ask the loop for its debug mode, thrice per step."""

    __slots__ = ()

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], loop: Any, context: Context) -> None:
        self._callback = callback
        self._args = args
        self._context = context
        self._loop = loop
        self._cancelled = False
        self._repr = self._source_traceback = None


class Timer(asyncio.TimerHandle):
    """A durable wait of ``call_at``. Cancelling it cancels the wait."""

    __slots__ = ("correlation_id",)
    correlation_id: str | None

    def fire(self) -> None:
        self.correlation_id = None
        loop: Any = self._loop  # type: ignore[attr-defined]
        loop.ready.append(self)


class DurableLoop(_Closed):  # type: ignore[misc]
    """``salt`` keeps the hashes of different runs' tasks apart: asyncio has one set of tasks for all loops."""

    def __init__(self, host: Host, salt: int) -> None:
        self.host = host
        self.ready: deque[Any] = deque()
        #: from then on nothing runs and nothing is asked of the host
        self.dead = False
        #: ``SystemExit`` or ``KeyboardInterrupt`` that some task of the body raised
        self.exit: BaseException | None = None
        self.tasks: list[DurableTask] = []
        self.generators: list[Any] = []
        self._task_limit = self._generator_limit = 64
        self._order = salt << 16
        self._outer: tuple[Any, Any] = (None, None)

    # --- running -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> None:
        """Become the running loop of this thread, whatever loop runs there now."""
        outer = asyncio._get_running_loop()
        task = _swap_current_task(outer, None) if outer is not None and _swap_current_task else None
        self._outer = outer, task
        asyncio._set_running_loop(self)

    def __exit__(self, *exc_info: object) -> None:
        outer, task = self._outer
        self._outer = (None, None)
        asyncio._set_running_loop(outer)
        if task is not None:
            _swap_current_task(outer, task)

    def drain(self) -> None:
        """Run callbacks until none is left: the body is quiescent. What they raise goes nowhere, as in asyncio.

        A task keeps its own exception. ``SystemExit`` and ``KeyboardInterrupt`` of any task end the body at once, as
        they end ``asyncio.run()``; they are noted in :attr:`exit` and never leave the loop.
        """
        ready = self.ready
        pop = ready.popleft
        while ready:
            handle = pop()
            if handle._cancelled:
                continue
            try:
                handle._context.run(handle._callback, *handle._args)
            except (SystemExit, KeyboardInterrupt) as error:
                self.exit = self.exit or error
                ready.clear()
            except BaseException as error:  # noqa: BLE001
                self.default_exception_handler({"message": "Exception in a callback", "exception": error})

    def _track_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Asynchronous generators are kept until the body ends: their ``finally`` must not run at a random moment."""
        if len(self.generators) >= self._generator_limit:
            self.generators = [item for item in self.generators if item.ag_frame is not None]
            self._generator_limit = max(64, 2 * len(self.generators))
        self.generators.append(generator)

    # --- what a body may have ----------------------------------------------------------------------------------------

    def next_order(self) -> int:
        self._order += 1
        return self._order

    def time(self) -> float:
        return self.host.elapsed()

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = _Ready(callback, args, self, copy_context() if context is None else context)
        if not self.dead:
            self.ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.host.elapsed() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if math.isnan(when):
            raise ValueError(f"A time on the loop's clock is a number, not {when!r}.")
        timer = Timer(when, callback, args, self, context)
        timer.correlation_id = None
        if self.dead or when == math.inf:  # never, as on any loop of asyncio's: there is nothing to wait for
            return timer
        due_at = self.host.due_at(when)
        if due_at <= self.host.clock:
            self.ready.append(timer)
        else:
            timer.correlation_id = self.host.open_wait(due_at, timer.fire)
        return timer

    def _timer_handle_cancelled(self, timer: Timer) -> None:
        if timer.correlation_id is not None:
            self.host.abandon_wait(timer.correlation_id)
            timer.correlation_id = None

    def create_future(self) -> DurableFuture:
        future = DurableFuture(loop=self)
        future.order = self.next_order()
        return future

    def create_task(
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
        eager_start: bool | None = None,  # Python 3.14; a hint, which a task may ignore
    ) -> DurableTask:
        task = DurableTask(coro, loop=self, name=name, context=copy_context() if context is None else context)
        if self.dead:
            coro.close()
            return task
        if len(self.tasks) >= self._task_limit:
            self.tasks = [item for item in self.tasks if not item.done()]
            self._task_limit = max(64, 2 * len(self.tasks))
        self.tasks.append(task)
        return task

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def get_debug(self) -> bool:
        return False

    def get_task_factory(self) -> None:
        return None

    def get_exception_handler(self) -> None:
        return None

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.default_exception_handler(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.dead:
            logger.debug("%s", context.get("message"), exc_info=context.get("exception"))


def _track(generator: AsyncGenerator[Any, Any]) -> None:
    """Whatever body begins to iterate it, that body's loop keeps it."""
    loop = asyncio._get_running_loop()
    if isinstance(loop, DurableLoop):
        loop._track_generator(generator)


def _ignore(generator: AsyncGenerator[Any, Any]) -> None:
    """Finalizer of asynchronous generators: their loop keeps and closes them."""


def _hook_generators() -> Any:
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=_track, finalizer=_ignore)
    return hooks


def _unhook_generators(hooks: Any) -> None:
    sys.set_asyncgen_hooks(*hooks)


# once for all bodies of a batch: setting hooks is audited, and slow
guards.append((_hook_generators, _unhook_generators))
