"""Where ``asyncio`` itself would depend on memory addresses, made to depend on the order of arguments.

``asyncio.wait`` and ``as_completed`` begin with ``set(fs)``; for coroutines, whose hash is their address, the order in
which they become tasks would differ from process to process. Their module finds ``set`` in its own namespace first, so
a function of that name there reaches them however they were imported. Under any other loop it is the built-in set.
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
from collections.abc import Iterable, Iterator
from typing import Any

from ..exceptions import WorkflowSandboxError
from .loop import DurableLoop


class _InOrder(set[Any]):
    """A set that is iterated in the order of its arguments. For reading: ``asyncio`` does not change it."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = list(dict.fromkeys(items))
        for item in self._items:
            if asyncio.isfuture(item) and type(item).__hash__ is object.__hash__:
                raise WorkflowSandboxError(
                    "A bare asyncio.Future() has no place of its own in a set, so that replays could differ. "
                    "Make it with asyncio.get_running_loop().create_future()."
                )
        super().__init__(self._items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)


def _set(*args: Any) -> set[Any]:
    if args and isinstance(asyncio._get_running_loop(), DurableLoop):
        return _InOrder(*args)
    return set(*args)


def _gathering_hash(future: Any) -> int:
    """``gather()`` makes its future by itself. Its number is drawn when it is first hashed."""
    loop = future.get_loop()
    if not isinstance(loop, DurableLoop):
        return object.__hash__(future)
    order: int | None = getattr(future, "order", None)
    if order is None:
        order = future.order = loop.next_order()
    return order


def install() -> None:
    """Put both in place, for this process. Installing again changes nothing."""
    tasks: Any = asyncio.tasks
    tasks.set = _set
    tasks._GatheringFuture.__hash__ = _gathering_hash
