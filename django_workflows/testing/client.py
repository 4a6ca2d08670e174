"""What ``start()`` and ``handle.result()`` of the code under test ask while a session is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db.backends.base.base import BaseDatabaseWrapper

from .. import api

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

    async def aresult(self, run_id: str, timeout: Any) -> Any:
        return await sync_to_async(self.result)(run_id, timeout)
