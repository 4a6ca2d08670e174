"""Waiting for a run's end and reading how it went."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from asgiref.sync import sync_to_async

from ..eventlog import events
from ..eventlog.statuses import TERMINAL_RUN, RunStatus
from ..exceptions import InAtomicBlockError, RunCancelledError, RunFailedError, RunNotFoundError
from ..models import Run
from ..serialization import decode_error, loads
from ..serialization.encryption import decrypt
from ..store import database
from ..store.event_log import find_last
from . import listener

_PENDING = object()


def status(run_id: str) -> str:
    """The run's status: ``pending running completed failed cancelled``."""
    found = Run.objects.filter(pk=run_id).values_list("status", flat=True).first()
    if found is None:
        raise RunNotFoundError(run_id)
    return found


def result(run_id: str, timeout: float | None = None) -> Any:
    """The run's output; waits until it has ended, at most ``timeout`` seconds (None: indefinitely).

    Raises:
        RunFailedError, RunCancelledError: that is how it ended. TimeoutError: it has not ended yet.
        InAtomicBlockError: it has not ended, and cannot before the caller's transaction does.
        RunNotFoundError: there is no such run.
    """
    rung = threading.Event()
    # a run that has ended is no reason to begin listening
    if not listener.is_listening() and (value := _ask(run_id)) is not _PENDING:
        return value
    deadline = None if timeout is None else time.monotonic() + timeout
    with listener.subscription(run_id, rung.set) as waiter:
        while True:
            rung.clear()
            if (value := _ask(run_id)) is not _PENDING:
                return value
            rung.wait(_pause(run_id, waiter.poll, deadline))


async def aresult(run_id: str, timeout: float | None = None) -> Any:
    """Like :func:`result`, without blocking the event loop."""
    ask = sync_to_async(_ask)
    if not listener.is_listening() and (value := await ask(run_id)) is not _PENDING:
        return value
    rung, loop = asyncio.Event(), asyncio.get_running_loop()
    deadline = None if timeout is None else time.monotonic() + timeout

    def wake() -> None:
        loop.call_soon_threadsafe(rung.set)

    with listener.subscription(run_id, wake) as waiter:
        while True:
            rung.clear()
            if (value := await ask(run_id)) is not _PENDING:
                return value
            pause = _pause(run_id, waiter.poll, deadline)
            try:
                await asyncio.wait_for(rung.wait(), pause)
            except TimeoutError:
                continue


def _ask(run_id: str) -> Any:
    """:func:`_outcome`, for a caller that would wait for it: refused where the wait could never end."""
    value = _outcome(run_id)
    if value is _PENDING:
        _refuse_in_atomic_block()
    return value


def _refuse_in_atomic_block() -> None:
    if database.connection().in_atomic_block:
        raise InAtomicBlockError(
            "result() was called inside transaction.atomic(): the run cannot begin before that transaction commits. "
            "Call it after the block."
        )


def _pause(run_id: str, poll: float, deadline: float | None) -> float:
    if deadline is None:
        return poll
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError(f"Run {run_id} has not ended in time; it continues, ask again later.")
    return min(poll, left)


def _outcome(run_id: str) -> Any:
    """The output of a completed run, ``_PENDING`` for an active one, otherwise what it raises."""
    with database.connection().cursor() as cursor:  # asked often: the ORM would take longer than the database
        cursor.execute("SELECT status, output, error FROM django_workflows_run WHERE id = %s", [run_id])
        row = cursor.fetchone()
    if row is None:
        raise RunNotFoundError(run_id)
    status = row[0]
    if status not in TERMINAL_RUN:
        return _PENDING
    if status == RunStatus.COMPLETED:
        return loads(decrypt(row[1]))
    if status == RunStatus.CANCELLED:
        raise RunCancelledError(run_id, _reason(run_id))
    raise run_failed(run_id, loads(decrypt(row[2])))


def run_failed(run_id: str, error: dict[str, Any]) -> RunFailedError:
    """The stored error as an exception, with the body's own as its cause where that can be rebuilt."""
    failed = RunFailedError(run_id, error["type"], error["message"])
    failed.__cause__ = decode_error(error)
    return failed


def _reason(run_id: str) -> str | None:
    event = find_last(run_id, events.RunCancelled.type)
    reason: str | None = None if event is None else event.payload["reason"]
    return reason
