"""The project's middleware around an attempt, outermost first; where there is none, nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from typing import Any

from asgiref.sync import sync_to_async

from ...middleware import AttemptInfo, installed
from ...services.contexts import context_of
from .attempts import Attempt


def call_surrounded(attempt: Attempt, call: Callable[[], Any]) -> Any:
    """What ``call`` returns, or raises: middleware may raise something else, and cannot turn an error into a result."""
    chain = installed()
    if not chain:
        return call()
    info, context = _info(attempt), context_of(attempt.run_id)
    raised: BaseException
    with ExitStack() as stack:
        for item in chain:
            stack.enter_context(item.step(info, dict(context)))
        try:
            return call()
        except BaseException as error:
            raised = error
            raise
    raise raised


async def acall_surrounded(attempt: Attempt, call: Callable[[], Awaitable[Any]]) -> Any:
    """As :func:`call_surrounded`, for ``async def`` steps."""
    chain = installed()
    if not chain:
        return await call()
    info, context = _info(attempt), await sync_to_async(context_of)(attempt.run_id)
    raised: BaseException
    async with AsyncExitStack() as stack:
        for item in chain:
            await stack.enter_async_context(item.astep(info, dict(context)))
        try:
            return await call()
        except BaseException as error:
            raised = error
            raise
    raise raised


def _info(attempt: Attempt) -> AttemptInfo:
    step = attempt.step
    return AttemptInfo(
        attempt.run_id, attempt.workflow_name, step.name, step.id, attempt.number, step.queue, attempt.worker_id
    )
