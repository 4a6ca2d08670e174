"""What definitions and handles ask outside a body. ``apps.py`` installs :data:`client` when Django is ready."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async

from ..notify import results
from ..streams import reading
from ..values import durations
from . import runs, starts


class _Client:
    """The calling side of ``authoring.client.Client``: each method is one use case of this package."""

    start = staticmethod(starts.start)
    start_many = staticmethod(starts.start_many)
    status = staticmethod(results.status)

    astart = staticmethod(sync_to_async(starts.start))
    astart_many = staticmethod(sync_to_async(starts.start_many))
    astatus = staticmethod(sync_to_async(results.status))
    stream = staticmethod(reading.stream)
    astream = staticmethod(reading.astream)

    def result(self, run_id: str, timeout: Any) -> Any:
        return results.result(run_id, durations.timeout_seconds(timeout))

    async def aresult(self, run_id: str, timeout: Any) -> Any:
        return await results.aresult(run_id, durations.timeout_seconds(timeout))

    def cancel(self, run_id: str, reason: str | None, force: bool) -> None:
        runs.cancel_run(run_id, reason, force=force)

    async def acancel(self, run_id: str, reason: str | None, force: bool) -> None:
        await runs.acancel_run(run_id, reason, force=force)


client = _Client()
