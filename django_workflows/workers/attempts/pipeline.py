"""From an attempt to its outcome: load its arguments, run its function, classify how that went.

Neither way raises: whatever happens is an outcome, for the executor to report.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections

from ...authoring.runtime import RUNTIME
from ...exceptions import FatalError, RetryableError, SerializationError
from ...serialization import dumps, encode_error, loads
from ...values import clock, durations
from .atomic import run_atomic
from .attempts import AlreadyRecorded, Attempt, Completed, Failed, Outcome, Released
from .chunk_buffer import ChunksNotSavedError
from .forked import end_child
from .step_runtime import StepRuntime

#: seconds before a step is tried again whose result could not be saved: the database is away, or full
NOT_SAVED_PAUSE = 0.5
#: seconds between two rounds of closing the connections of async code that are too old or broken
_REFRESH_INTERVAL = 1.0


def run_attempt(attempt: Attempt) -> Outcome:
    """Run one attempt of a ``def`` step in the calling thread."""
    attempt.began_at = time.monotonic()
    runtime = StepRuntime(attempt)
    try:
        arguments = loads(attempt.step.input)
        close_old_connections()
        call = _bound(runtime, attempt.definition.fn, arguments)
        if attempt.definition.atomic:
            return run_atomic(attempt, runtime, call, NOT_SAVED_PAUSE)
        output = dumps(call())
        runtime.flush()
        return Completed(attempt, output)
    except ChunksNotSavedError:
        return Released(attempt, NOT_SAVED_PAUSE)
    except BaseException as error:  # noqa: BLE001 - SystemExit too: a step's end is never its worker's
        if not attempt.definition.atomic:  # what an atomic step wrote goes with its transaction
            with suppress(Exception):
                runtime.flush()
        return classify(attempt, error)
    finally:
        with suppress(Exception):  # the outcome must not be lost with a connection that cannot be closed
            close_old_connections()


def _bound(runtime: StepRuntime, fn: Callable[..., Any], arguments: dict[str, Any]) -> Callable[[], Any]:
    """The step's function with its arguments, to be called in a context of its own."""

    def call() -> Any:
        RUNTIME.set(runtime)
        process = os.getpid()
        try:
            return fn(*arguments["args"], **arguments["kwargs"])
        finally:
            if os.getpid() != process:  # the function has forked, and this is the child
                end_child()

    return lambda: contextvars.Context().run(call)


async def arun_attempt(attempt: Attempt) -> Outcome:
    """Run one attempt of an ``async def`` step on the running loop. The calling task has a context of its own."""
    attempt.began_at = time.monotonic()
    runtime = StepRuntime(attempt)
    try:
        await _refresh_connections()
        arguments = loads(attempt.step.input)
        RUNTIME.set(runtime)
        timeout = attempt.definition.timeout
        process = os.getpid()
        try:
            async with asyncio.timeout(None if timeout is None else timeout.total_seconds()):
                value = await attempt.definition.fn(*arguments["args"], **arguments["kwargs"])
        finally:
            if os.getpid() != process:
                end_child()
        output = dumps(value)
        await runtime.aflush()
        return Completed(attempt, output)
    except ChunksNotSavedError:
        return Released(attempt, NOT_SAVED_PAUSE)
    except BaseException as error:  # noqa: BLE001 - likewise
        with suppress(BaseException):  # also a second cancel: an attempt that has begun ends
            await runtime.aflush()
        _refresh_connections_soon()  # it may have been a connection that the server has closed
        return classify(attempt, error)


def classify(attempt: Attempt, error: BaseException) -> Outcome:
    """What an exception out of a step means for it. Never raises."""
    if attempt.cancelled and isinstance(error, asyncio.CancelledError):
        return AlreadyRecorded(attempt)
    encoded = encode_error(error)
    if isinstance(error, FatalError | SerializationError):
        return Failed(attempt, encoded, fatal=True, raised=error)
    if isinstance(error, RetryableError) and error.retry_after is not None:
        try:
            retry_after = durations.until(error.retry_after, clock.now()) - clock.now()
            return Failed(attempt, encoded, retry_after=retry_after, raised=error)
        except (TypeError, ValueError) as invalid:
            return Failed(attempt, encode_error(invalid), fatal=True, raised=invalid)
    return Failed(attempt, encoded, raised=error)


def timed_out(attempt: Attempt) -> Failed:
    """The outcome of a ``def`` attempt that is past its deadline, while its function goes on."""
    error = TimeoutError(f"The step did not return within {attempt.definition.timeout}.")
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
