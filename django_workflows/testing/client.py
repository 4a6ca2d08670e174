"""What ``start()`` and ``handle.result()`` of the code under test ask while a session is open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db.backends.base.base import BaseDatabaseWrapper

from .. import api, durations, streaming
from ..models import Run
from ..serialization import loads
from ..services import database

if TYPE_CHECKING:
    from .session import Workflows


class DrivingClient:
    """The production client, except that waiting for a run drives it: nobody else would."""

    def __init__(self, workflows: Workflows, connection: BaseDatabaseWrapper) -> None:
        self._workflows = workflows
        self._connection = connection
        self._depth = len(connection.savepoint_ids), connection.in_atomic_block

    def __getattr__(self, name: str) -> Any:
        return getattr(api.client, name)

    def result(self, run_id: str, timeout: Any) -> Any:
        connection = self._connection
        if (len(connection.savepoint_ids), connection.in_atomic_block) == self._depth:
            self._workflows.drive(run_id, timeout)
        # else: in the caller's own atomic block no worker would see the run, and production says so
        return api.client.result(run_id, 0)

    async def aresult(self, run_id: str, timeout: Any) -> Any:  # noqa: ASYNC109 - on the virtual clock
        return await sync_to_async(self.result)(run_id, timeout)

    def stream(self, run_id: str, name: str, start_index: int, timeout: Any) -> Iterator[Any]:
        while True:
            self._workflows.run_until_idle()
            page = streaming.read_page(run_id, name, start_index)
            for _, text in page.chunks:
                yield loads(text)
            if page.done:
                return
            start_index = page.next_index
            limit = None if timeout is None else database.now() + durations.parse(timeout)
            if not page.chunks and not self._workflows.move_on(self._run(run_id), limit):
                raise TimeoutError(f"Nothing was written to the stream {name!r} within {timeout!r}.")

    async def astream(self, run_id: str, name: str, start_index: int, timeout: Any) -> AsyncIterator[Any]:  # noqa: ASYNC109
        values, end = self.stream(run_id, name, start_index, timeout), object()
        while (value := await sync_to_async(lambda: next(values, end))()) is not end:
            yield value

    @staticmethod
    def _run(run_id: str) -> Run:
        return Run.objects.using(database.alias()).get(pk=run_id)
