"""``gather()``, ``race()`` and ``timeout()`` for workflows that are plain ``def`` functions.

In such a body steps, ``sleep()``, ``hook.wait()``, ``child.start()`` and ``handle.result()`` wait and give their
results, without ``await`` and without holding a worker. It needs the package ``greenlet``
(``django-durable-workflows[greenlet]``). All else is as in an ``async def`` body: the log, the rules of determinism.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .authoring import primitives
from .authoring.runtime import Runtime, require
from .values import durations
from .values.durations import Duration


def _require_sync(what: str, instead: str) -> Runtime:
    runtime = require(what)
    if not runtime.is_sync:
        raise runtime.refuse(what, f"It is for workflows that are a plain `def`; in an `async def` use {instead}.")
    return runtime


def gather(*calls: Callable[[], Any], return_exceptions: bool = False) -> list[Any]:
    """Make the calls at the same time and return their results in order, as ``asyncio.gather()`` does.

    ``calls`` take no arguments: ``gather(lambda: charge(1), partial(notify, order_id))``. Each may wait for any number
    of things. The first exception is raised at once; with ``return_exceptions`` exceptions are results, too.
    """
    runtime = _require_sync("gather()", "asyncio.gather()")
    branches = [runtime.spawn(call) for call in calls]

    async def together() -> list[Any]:
        return await asyncio.gather(*branches, return_exceptions=return_exceptions)

    return list(runtime.wait(together()))


def race(*calls: Callable[[], Any]) -> Any:
    """Make the calls at the same time; the result (or the exception) of the first to end. The others are cancelled."""
    runtime = _require_sync("sync.race()", "django_workflows.race()")
    return runtime.wait(primitives.race(*[runtime.spawn(call) for call in calls]))


@contextmanager
def timeout(duration: Duration) -> Iterator[None]:
    """Raise ``TimeoutError`` where the block waits, once the duration is over; in any form that ``sleep()`` takes."""
    runtime = _require_sync("sync.timeout()", "asyncio.timeout()")
    seconds = durations.seconds(duration)
    limit: list[asyncio.Timeout] = []

    async def enter() -> None:
        limit.append(await asyncio.timeout(seconds).__aenter__())

    runtime.wait(enter())
    try:
        yield
    except BaseException as error:
        if not runtime.wait(limit[0].__aexit__(type(error), error, error.__traceback__)):
            raise
    else:
        runtime.wait(limit[0].__aexit__(None, None, None))


__all__ = ["gather", "race", "timeout"]
