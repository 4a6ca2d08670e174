"""What ``start()``, ``handle.result()`` and everything else that waits ask while a session is open.

In production they wait for a worker. Here there is none, so waiting drives the runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

from asgiref.sync import sync_to_async

from .. import api
from ..api import webhooks
from ..authoring.client import client, install_client
from ..notify import watcher
from ..store import database
from ..streams import reading
from .waiting import MAX_JUMPS, StillWaitingError

if TYPE_CHECKING:
    from .session import Workflows


@contextmanager
def driving(workflows: Workflows) -> Iterator[None]:
    """While the block runs, waiting for a result, a stream or the answer to a webhook drives the runs."""
    is_nested = _nesting()
    wait = _waiting(workflows)
    refuse = webhooks._refuse_to_wait_in_atomic

    def refuse_nested(token: str) -> None:
        if is_nested():
            refuse(token)

    with ExitStack() as stack:
        stack.callback(install_client, client())
        install_client(DrivingClient(workflows, is_nested))
        stack.enter_context(mock.patch.object(watcher, "wait", wait))
        stack.enter_context(mock.patch.object(watcher, "await_answer", sync_to_async(wait)))
        stack.enter_context(mock.patch.object(reading, "_in_atomic_block", is_nested))
        stack.enter_context(mock.patch.object(webhooks, "_refuse_to_wait_in_atomic", refuse_nested))
        yield


def _nesting() -> Callable[[], bool]:
    """Tells whether the caller is inside an ``atomic`` block of its own, where no worker would see what it has done."""

    def depth() -> tuple[int, bool]:
        connection = database.connection()
        return len(connection.savepoint_ids), connection.in_atomic_block

    outside = depth()
    return lambda: depth() != outside


def _waiting(workflows: Workflows) -> Callable[[Any, Any, float | None], Any]:
    def wait(source: Any, question: Any, timeout: float | None) -> Any:
        """As ``watcher.wait()``, on the virtual clock."""
        driver = workflows.driver
        limit = None if timeout is None else database.now() + timedelta(seconds=timeout)
        for _ in range(MAX_JUMPS):
            driver.run_until_idle()
            (answer,) = source.poll([question])
            if isinstance(answer, BaseException):
                raise answer
            if answer is not watcher.NOTHING:
                return answer
            due = driver.next_due()
            if limit is not None and (due is None or due > limit):
                driver.move_to(limit)
                raise TimeoutError
            if due is None:
                break
            driver.move_to(due)
        raise StillWaitingError(f"What is asked for here will not come by itself: {question}.")

    return wait


class DrivingClient:
    """The production client, except that waiting for a run drives it."""

    def __init__(self, workflows: Workflows, is_nested: Callable[[], bool]) -> None:
        self._workflows = workflows
        self._is_nested = is_nested

    def __getattr__(self, name: str) -> Any:
        return getattr(api.client, name)

    def result(self, run_id: str, timeout: Any) -> Any:
        if not self._is_nested():  # else the run would wait for the caller's transaction, and production says so
            self._workflows.drive(run_id, timeout)
        return api.client.result(run_id, 0)

    async def aresult(self, run_id: str, timeout: Any) -> Any:
        return await sync_to_async(self.result)(run_id, timeout)
