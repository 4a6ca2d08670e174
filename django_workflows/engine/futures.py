"""Futures, tasks and coroutines whose place in a set does not depend on their address in memory.

``asyncio`` keeps futures and tasks in sets. Their order decides which task is cancelled first, so it has to be the same
on every replay: the hash is the number of the object within its run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextvars import Context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .loop import DurableLoop


class DurableFuture(asyncio.Future[Any]):
    order: int  # set by the loop that makes it

    def __hash__(self) -> int:
        return self.order


class RequestFuture(DurableFuture):
    """What a step, a sleep or a child's result is awaited through. Cancelling it abandons the request."""

    correlation_id: str
    abandon: Callable[[str], None]

    def cancel(self, msg: Any | None = None) -> bool:
        if not super().cancel(msg):
            return False
        self.abandon(self.correlation_id)
        return True


class DurableTask(asyncio.Task[Any]):
    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], *, loop: DurableLoop, name: str | None, context: Context
    ) -> None:
        self.order = loop.next_order()  # first: asyncio puts the task into a set while it is made
        self.durable_context = context  # Task.get_context() is new in Python 3.12
        super().__init__(coroutine, loop=loop, name=name or f"Task-{self.order & 0xFFFF}", context=context)

    def __hash__(self) -> int:
        return self.order


class DurableCall(Coroutine[Any, Any, Any]):
    """What calling a step or ``sleep()`` in a body returns: a coroutine that makes its request when it is awaited.

    Not an ``async def``: one that is never awaited must vanish without a warning (a suspended body may be dropped at
    any time), and its hash must not be an address.
    """

    __slots__ = ("__name__", "__qualname__", "__weakref__", "_args", "_iterator", "_order", "_request")

    def __init__(self, order: int, name: str, request: Callable[..., Iterator[Any]], *args: Any) -> None:
        self._order = order
        self.__name__ = self.__qualname__ = name
        self._request: Callable[..., Iterator[Any]] | None = request
        self._args = args
        self._iterator: Any = None

    def _begin(self) -> Any:
        request = self._request
        if request is None:
            raise RuntimeError(f"cannot reuse already awaited coroutine {self.__name__}()")
        self._request = None
        return request(*self._args)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._begin()  # type: ignore[no-any-return]

    def send(self, value: Any) -> Any:
        if self._iterator is None:
            self._iterator = self._begin()
        return self._iterator.send(value)

    def throw(self, typ: Any, val: Any = None, tb: Any = None) -> Any:
        if self._iterator is None:
            self._request = None
            raise typ if isinstance(typ, BaseException) or val is None else val
        if isinstance(typ, BaseException):
            return self._iterator.throw(typ)
        return self._iterator.throw(val if isinstance(val, BaseException) else typ() if val is None else typ(val))

    def close(self) -> None:
        self._request = None
        if self._iterator is not None:
            self._iterator.close()

    def __hash__(self) -> int:
        return self._order

    def __repr__(self) -> str:
        return f"<coroutine {self.__name__}>"


def pause() -> Generator[None, None, None]:
    """One turn of the loop, as ``asyncio.sleep(0)``."""
    yield


def value_at_once(value: Any) -> Generator[None, None, Any]:
    """A result that is there already."""
    yield from ()
    return value


def never() -> Generator[None, None, None]:
    """What every request of a dead body waits for."""
    while True:
        yield
