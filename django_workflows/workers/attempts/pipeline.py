"""From an attempt to its outcome: load its arguments, run its function, classify how that went.

Neither way raises: whatever happens is an outcome, for the executor to report.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections

from ...authoring.runtime import RUNTIME
from ...exceptions import FatalError, RetryableError, SerializationError, StepTimeoutError
from ...serialization import dumps, encode_error, loads
from ...values import clock, durations
from .atomic import run_atomic
from .attempts import AlreadyRecorded, Attempt, Completed, Failed, Outcome
from .forked import end_child
from .step_runtime import StepRuntime
from .surroundings import acall_surrounded, call_surrounded

#: seconds between two rounds of closing the connections of async code that are too old or broken
_REFRESH_INTERVAL = 1.0


def run_attempt(attempt: Attempt) -> Outcome:
    """Run one attempt of a ``def`` step in the calling thread."""
    attempt.began_at = time.monotonic()
    runtime = StepRuntime(attempt)
    try:
        arguments = loads(attempt.step.input)
        close_old_connections()
        call = _bound(runtime, attempt, arguments)
        if attempt.definition.atomic:
            return run_atomic(attempt, runtime, call)
        output = dumps(call())
        runtime.flush()
        return Completed(attempt, output)
    except BaseException as error:  # noqa: BLE001 - SystemExit too: a step's end is never its worker's
        if not attempt.definition.atomic:  # what an atomic step wrote goes with its transaction
            with suppress(Exception):
                runtime.flush()
        return classify(attempt, error)
    finally:
        with suppress(Exception):  # the outcome must not be lost with a connection that cannot be closed
            close_old_connections()


def _bound(runtime: StepRuntime, attempt: Attempt, arguments: dict[str, Any]) -> Callable[[], Any]:
    """The step's function with its arguments, to be called in a context of its own."""

    def call() -> Any:
        RUNTIME.set(runtime)
        return call_surrounded(attempt, partial(_call, attempt, arguments))

    return lambda: contextvars.Context().run(call)


def _call(attempt: Attempt, arguments: dict[str, Any]) -> Any:
    process = os.getpid()
    try:
        return attempt.definition.fn(*arguments["args"], **arguments["kwargs"])
    finally:
        if os.getpid() != process:  # the function has forked, and this is the child: no middleware ends in it
            end_child()


async def _acall(attempt: Attempt, arguments: dict[str, Any]) -> Any:
    process = os.getpid()
    try:
        return await attempt.definition.fn(*arguments["args"], **arguments["kwargs"])
    finally:
        if os.getpid() != process:
            end_child()


async def arun_attempt(attempt: Attempt) -> Outcome:
    """Run one attempt of an ``async def`` step on the running loop. The calling task has a context of its own."""
    attempt.began_at = time.monotonic()
    runtime = StepRuntime(attempt)
    timeout = attempt.definition.timeout
    limit = asyncio.timeout(None if timeout is None else timeout.total_seconds())
    try:
        await _refresh_connections()
        arguments = loads(attempt.step.input)
        RUNTIME.set(runtime)
        async with limit:
            value = await acall_surrounded(attempt, partial(_acall, attempt, arguments))
        output = dumps(value)
        await runtime.aflush()
        return Completed(attempt, output)
    except BaseException as error:  # noqa: BLE001 - likewise
        with suppress(BaseException):  # also a second cancel: an attempt that has begun ends
            await runtime.aflush()
        _refresh_connections_soon()  # it may have been a connection that the server has closed
        return timed_out(attempt, error) if limit.expired() else classify(attempt, error)


def classify(attempt: Attempt, error: BaseException) -> Outcome:
    """What an exception out of a step means for it. Never raises."""
    if attempt.cancelled and isinstance(error, asyncio.CancelledError):
        return AlreadyRecorded(attempt)
    encoded = encode_error(error)
    leaves = list(_leaves(error))
    if any(isinstance(leaf, FatalError | SerializationError) for leaf in leaves):
        return Failed(attempt, encoded, fatal=True, raised=error)
    asked = [leaf.retry_after for leaf in leaves if isinstance(leaf, RetryableError) and leaf.retry_after is not None]
    try:
        return Failed(attempt, encoded, retry_after=tuple(map(_pause_or_instant, asked)), raised=error)
    except (TypeError, ValueError) as invalid:
        return Failed(attempt, encode_error(invalid), fatal=True, raised=invalid)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The error itself, or what a group is made of: a ``TaskGroup`` hides what its tasks raised in one."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _leaves(member)
    else:
        yield error


def _pause_or_instant(retry_after: Any) -> timedelta | datetime:
    """What ``retry_after`` says, checked. An instant stays one: it is compared by the database's clock, not by ours."""
    now = clock.now()
    until = durations.until(retry_after, now)
    return retry_after.astimezone(UTC) if isinstance(retry_after, datetime) else until - now


def timed_out(attempt: Attempt, cause: BaseException | None = None) -> Failed:
    """The outcome of an attempt that is past its deadline. ``cause``: what left the function when it was interrupted."""
    limit = attempt.definition.timeout
    assert limit is not None
    error = StepTimeoutError(attempt.step.name, limit, attempt.number)
    error.__cause__ = cause
    return Failed(attempt, encode_error(error), raised=error)


# --- connections of async code: all of its ORM runs on one thread ------------------------------------------------------

_refreshed_at = 0.0


async def _refresh_connections() -> None:
    """Close those that are too old or broken, at most once per interval: it costs a change of thread."""
    global _refreshed_at
    if time.monotonic() - _refreshed_at >= _REFRESH_INTERVAL:
        _refreshed_at = time.monotonic()
        await sync_to_async(close_old_connections)()


def _refresh_connections_soon() -> None:
    global _refreshed_at
    _refreshed_at = 0.0
