"""What callers ask of a run, and do to it: find it, cancel it, wake it, try a parked one again."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async

from ..authoring.handles import RunHandle
from ..exceptions import RunNotFoundError
from ..models import Run
from ..services import runs, waits
from ..store import locking
from ..store.transactions import in_transaction
from ..store.write import write


def get_run(run_id: str) -> RunHandle[Any]:
    """A handle of an existing run.

    Raises:
        RunNotFoundError: there is no such run.
    """
    if not Run.objects.filter(pk=run_id).exists():
        raise RunNotFoundError(run_id)
    return RunHandle(run_id)


@in_transaction
def cancel_run(run_id: str, reason: str | None = None, *, force: bool = False) -> None:
    """Ask the run's body to end, with a chance to clean up; with ``force``, end the run at once. Idempotent.

    Raises:
        RunNotFoundError: there is no such run. RunNotActiveError: it has completed or failed.
    """
    transition = locking.lock_whole_run(run_id) if force else locking.lock_run(run_id)
    if runs.request_cancel(transition, reason, force=force):
        write([transition])


@in_transaction
def wake_run(run_id: str, correlation_id: str | None = None) -> int:
    """End the run's sleeps now, or the one with this correlation id. Returns how many waits it ended; 0 is no error.

    Raises:
        RunNotFoundError: there is no such run. RunNotActiveError: it has ended.
    """
    transition = locking.lock_run(run_id)
    runs.require_active(transition)
    locking.read_waits(transition)
    count = waits.wake_waits(transition, correlation_id)
    write([transition])
    return count


@in_transaction
def unblock_run(run_id: str) -> None:
    """Try a parked run again now.

    Raises:
        RunNotFoundError, RunNotActiveError; EntityConflictError: the run is not blocked.
    """
    transition = locking.lock_run(run_id)
    runs.unblock_run(transition)
    write([transition])


aget_run = sync_to_async(get_run)
acancel_run = sync_to_async(cancel_run)
awake_run = sync_to_async(wake_run)
aunblock_run = sync_to_async(unblock_run)
