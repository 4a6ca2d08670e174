"""Closing an unfinished body, without any effect.

The loop is dead by then: nothing that the body's ``finally`` blocks and handlers ask for has an effect, and whatever
they await never comes. So each coroutine is closed until it stops awaiting things in answer.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import inspect
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context
from types import AsyncGeneratorType, CoroutineType
from typing import Any

from .futures import DurableTask
from .loop import DurableLoop

#: closing is tried that often on code such as ``while True: try: await x; except BaseException: pass``
_ATTEMPTS = 100
_CONTAINERS = (list, tuple, dict, set, frozenset, deque)

#: what cannot be closed, and is kept for good (:func:`keep`)
stubborn: list[Any] = []


def keep(body: object) -> None:
    """Never free it, for that would close it once more, at any time and on any thread.

    Not at the interpreter's end either, when a list is not enough to hold it: a body that swallows everything would loop
    there, where what it awaits returns at once, and the process would never exit.
    """
    stubborn.append(body)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(body))


def tear_down(loop: DurableLoop, main: DurableTask | None) -> None:
    """Close every task and asynchronous generator of the loop, each in its task's context. Never raises."""
    loop.dead = True
    loop.ready.clear()
    tasks = [task for task in loop.tasks if not task.done()]
    for task in tasks:
        with _current(loop, task):
            _close_task(task)
    for generator in loop.generators:
        if generator.ag_frame is not None and main is not None:
            with _current(loop, main):
                _close_generator(generator, main.durable_context)
    loop.tasks.clear()
    loop.generators.clear()
    loop.ready.clear()


@contextmanager
def _current(loop: DurableLoop, task: DurableTask) -> Iterator[None]:
    """``asyncio.timeout()`` and others raise where there is no current task, which a loop around them may swallow."""
    asyncio.tasks._enter_task(loop, task)
    try:
        yield
    finally:
        asyncio.tasks._leave_task(loop, task)


def _close_task(task: DurableTask) -> None:
    coroutine: Any = task.get_coro()
    if coroutine is None:
        return
    for waiting in _never_awaited(coroutine):
        waiting.close()
    for _ in range(_ATTEMPTS):
        try:
            task.durable_context.run(coroutine.close)
        except BaseException as error:  # noqa: BLE001  (mostly raised by the body's own cleanup; the body is gone, so there is no caller to report it to)
            if _says(error, "ignored GeneratorExit"):
                continue
        return
    keep(coroutine)


def _close_generator(generator: AsyncGeneratorType[Any, Any], context: Context) -> None:
    try:
        context.run(_aclose, generator)
    except BaseException as error:  # noqa: BLE001
        if _says(error, "already running"):
            # On Python 3.11 a generator whose reader was closed counts as running forever. Freeing it runs nothing, as
            # long as it was not asked to close: its finalizer is the loop's.
            return
    if generator.ag_frame is not None:
        keep(generator)


def _aclose(generator: AsyncGeneratorType[Any, Any]) -> None:
    """``aclose()`` without a loop. What it awaits never comes."""
    closing: Any = generator.aclose()
    try:
        closing.send(None)
    except (StopIteration, StopAsyncIteration):
        return
    closing.close()


def _says(error: BaseException, words: str) -> bool:
    """Python tells these apart by their message only."""
    return type(error) is RuntimeError and words in str(error)


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
