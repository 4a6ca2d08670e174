"""What definitions and handles ask outside a body. ``apps.py`` installs :data:`client` when Django is ready."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async

from ..notify import results
from ..streams import reading
from ..values import durations
from . import inspection, runs, starts

#: seconds; whoever waits for less asks often
_WORTH_A_REASON = 1.0


def _explained(run_id: str, error: TimeoutError, limit: float | None) -> TimeoutError:
    """The same, with why the run has not ended."""
    if limit is None or limit < _WORTH_A_REASON:
        return error
    sentences = [reason.sentence for reason in inspection.explain(run_id)[:3]]
    return TimeoutError(" ".join([str(error), *sentences]))


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
        limit = durations.timeout_seconds(timeout)
        try:
            return results.result(run_id, limit)
        except TimeoutError as error:
            raise _explained(run_id, error, limit) from None

    async def aresult(self, run_id: str, timeout: Any) -> Any:
        limit = durations.timeout_seconds(timeout)
        try:
            return await results.aresult(run_id, limit)
        except TimeoutError as error:
            raise await sync_to_async(_explained)(run_id, error, limit) from None

    def cancel(self, run_id: str, reason: str | None, force: bool) -> None:
        runs.cancel_run(run_id, reason, force=force)

    async def acancel(self, run_id: str, reason: str | None, force: bool) -> None:
        await runs.acancel_run(run_id, reason, force=force)


client = _Client()
