"""Putting an unfinished body away without a sound.

The loop is dead by then: nothing that the body's ``finally`` blocks and handlers ask for has an effect, and whatever
they await never comes. So each coroutine is closed until it stops awaiting things in answer.
"""

from __future__ import annotations

import gc
import inspect
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context
from functools import partial
from types import AsyncGeneratorType, CoroutineType
from typing import Any

from .futures import DurableTask
from .loop import DurableLoop

#: closing is tried that often on code such as ``while True: try: await x; except BaseException: pass``
_ATTEMPTS = 100
_CONTAINERS = (list, tuple, dict, set, frozenset, deque)

#: coroutines that cannot be closed. They are kept, since freeing one would try again, at any time and on any thread.
stubborn: list[Any] = []


def tear_down(loop: DurableLoop, context: Context) -> None:
    """Close every task and asynchronous generator of the loop, each in its own context. Never raises."""
    loop.dead = True
    loop.ready.clear()
    tasks = [task for task in loop.tasks if not task.done()]
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    for task in tasks:
        _close_task(task)
    for generator in loop.generators:
        if generator.ag_frame is not None:
            _close(generator, context, partial(_step_close, generator))
    loop.tasks.clear()
    loop.generators.clear()
    loop.ready.clear()


def _close_task(task: DurableTask) -> None:
    coroutine: Any = task.get_coro()
    if coroutine is None:
        return
    for waiting in _never_awaited(coroutine):
        waiting.close()
    _close(coroutine, task.durable_context, coroutine.close)


def _close(owner: Any, context: Context, close: Callable[[], None]) -> None:
    for _ in range(_ATTEMPTS):
        try:
            context.run(close)
            return
        except RuntimeError as error:
            if "ignored GeneratorExit" not in str(error):
                return  # raised by the body's own cleanup
        except BaseException:  # noqa: BLE001  (the body's cleanup failed; nobody is left to be told)
            return
    stubborn.append(owner)


def _step_close(generator: AsyncGeneratorType[Any, Any]) -> None:
    """``aclose()`` without a loop: what it awaits never comes, which ends the attempt."""
    closing: Any = generator.aclose()
    try:
        closing.send(None)
    except (StopIteration, StopAsyncIteration):
        return
    closing.close()
    raise RuntimeError("asynchronous generator ignored GeneratorExit")


def _never_awaited(coroutine: Any) -> Iterator[Any]:
    """Coroutines that a suspended one holds and has not begun to await: freeing them would warn that they never ran."""
    seen: set[int] = set()
    while coroutine is not None and id(coroutine) not in seen:
        seen.add(id(coroutine))
        held = gc.get_referents(coroutine)
        for container in [item for item in held if type(item) in _CONTAINERS]:
            held += gc.get_referents(container)
        for item in held:
            if type(item) is CoroutineType and inspect.getcoroutinestate(item) == inspect.CORO_CREATED:
                yield item
        coroutine = getattr(coroutine, "cr_await", None)
