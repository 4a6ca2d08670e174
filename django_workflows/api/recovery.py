"""Continuing from what a run has done: repair it, retry it, fork another from it; carry it elsewhere as a history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from asgiref.sync import sync_to_async

from .. import verify
from ..authoring.handles import RunHandle
from ..exceptions import FenceConflictError
from ..recovery import export, fork, repair, retry
from ..recovery.fork import Effect, ForkPlan
from ..recovery.retry import RetryPlan
from ..store import database, orm_guard
from ..store.locking import lock_run
from ..store.transactions import TRIES, in_transaction
from ..store.write import write

__all__ = [
    "Effect",
    "ForkPlan",
    "aexport_run",
    "afork_run",
    "aimport_history",
    "aplan_fork",
    "arepair_run",
    "aretry_run",
    "export_run",
    "find_damaged",
    "fork_run",
    "import_history",
    "plan_fork",
    "read_histories",
    "repair_run",
    "replay_history",
    "retry_run",
    "write_history",
]

#: rules of the validator that are about tables, not about what the log itself holds
_REPAIRABLE = frozenset({1, 5, 6, 8, 9})


@in_transaction
def repair_run(run_id: str) -> list[str]:
    """Make the run's tables say what its log says. Returns a sentence for each thing that was wrong; [] is good.

    Raises:
        RunNotFoundError: there is no such run. CorruptedEventLogError: events are missing in the middle of its log.
    """
    return repair.repair_run(run_id)


def find_damaged(run_ids: Iterable[str] | None = None) -> list[str]:
    """Ids of the runs whose tables do not say what their logs say, which is what :func:`repair_run` mends.

    ``run_ids``: which to look at; None for all, which takes as long as verifying them all does.
    """
    found = (v.run_id for v in verify.iterate_violations(run_ids) if v.run_id and v.rule in _REPAIRABLE)
    return list(dict.fromkeys(found))


def retry_run(run_id: str) -> None:
    """Continue a failed run from the step that failed it: same run, same step ids, its history kept.

    What failed gets its retries again; children that failed are retried first. Where the body itself failed, and not
    a step, it continues from its last event, which helps once its code is repaired.

    Raises:
        RunNotFoundError: there is no such run.
        EntityConflictError: it has not failed; or another run owns the token of one of its hooks by now; or it failed
            by a child that was cancelled or pruned; or its payloads were erased. Nothing was written.
        ReplayDivergenceError: the code does not fit what the run did before it failed. Nothing was written.
        FenceConflictError: inside the caller's transaction only: the log has grown meanwhile; begin again.
    """
    orm_guard.install()  # planning replays the body
    for attempt in range(TRIES):
        plan = retry.plan_retry(run_id)
        for child_id in plan.children:
            retry_run(child_id)
        try:
            return _retry(plan)
        except FenceConflictError:  # a step that still ran has ended in between
            if attempt == TRIES - 1 or database.connection().in_atomic_block:
                raise
    return None


@in_transaction
def _retry(plan: RetryPlan) -> None:
    transition = lock_run(plan.run_id)
    retry.retry_run(transition, plan)
    write([transition])


def plan_fork(run_id: str, from_step: str | None = None, input: Any = None) -> ForkPlan:
    """What :func:`fork_run` would take over and what would run again. Raises as it does; writes nothing."""
    orm_guard.install()  # planning replays the body
    return fork.plan_fork(run_id, from_step, input)


def fork_run(run_id: str, from_step: str | None = None, input: Any = None) -> RunHandle[Any]:
    """Start a new run that takes over what another had done before it created ``from_step`` (a correlation id).

    None: the new run begins afresh. ``input``: other arguments, ``{"args": […], "kwargs": {…}}`` or a list of args.
    The original is not touched. Steps from there on run (again) under new step ids.

    Raises:
        RunNotFoundError: there is no such run. TypeError: the input does not fit the workflow.
        EntityConflictError: the run has no such step; a hook's token is still taken; a child that the copy waits for
            has not ended; with this input the body decides otherwise before the step. Nothing was written.
        ReplayDivergenceError: the code does not fit what is to be copied. Nothing was written.
    """
    return RunHandle(_fork(plan_fork(run_id, from_step, input)))


@in_transaction
def _fork(plan: ForkPlan) -> str:
    return fork.fork_run(plan)


# --- histories -------------------------------------------------------------------------------------------------------


def export_run(run_id: str) -> dict[str, Any]:
    """The history of one run, of plain JSON values: its log, and what it takes to store it elsewhere.

    It contains arguments, results, tokens and seeds: treat it like a copy of the database. Streams are left out.

    Raises:
        RunNotFoundError: there is no such run.
    """
    return export.export_run(run_id)


def import_history(history: dict[str, Any], *, activate: bool = False) -> RunHandle[Any]:
    """Store a history as a run with all its rows. An ended run is only there to be looked at.

    ``activate``: store a run that has not ended, too; workers advance it, so make sure that no other database's do.

    Raises:
        EntityConflictError: the run has not ended and ``activate`` is not set; or a run with its id, idempotency key or
            an open token exists here already.
    """
    return export.import_history(history, activate=activate)


def replay_history(history: dict[str, Any]) -> list[str]:
    """Replay a history with the code of this process, cut after every event. Returns what goes wrong, in sentences.

    Needs no database. An unknown workflow is something that goes wrong; erased payloads cannot be replayed: [].
    """
    return export.replay_history(history)


def read_histories(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Histories from the lines of a file, one per line; empty lines are skipped.

    Raises:
        ValueError: a line is no history, or one of a newer version; the message says which line.
    """
    return export.read_lines(lines)


def write_history(history: dict[str, Any]) -> str:
    """A history as one line of ASCII text, as :func:`read_histories` reads it."""
    return export.write_line(history)


arepair_run = sync_to_async(repair_run)
aretry_run = sync_to_async(retry_run)
aplan_fork = sync_to_async(plan_fork)
afork_run = sync_to_async(fork_run)
aexport_run = sync_to_async(export_run)
aimport_history = sync_to_async(import_history)
