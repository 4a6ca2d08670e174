"""Going on from what a run has done: retry it, or fork another run from it. Callers use these through ``api``."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async

from ..authoring.handles import RunHandle
from ..exceptions import FenceConflictError
from ..store import database, orm_guard
from ..store.locking import lock_run
from ..store.transactions import TRIES, in_transaction
from ..store.write import write
from . import fork, retry
from .fork import ForkPlan
from .retry import RetryPlan


def retry_run(run_id: str) -> None:
    """Have a failed run go on from the step that failed it: same run, same step ids, its history kept.

    What failed gets its retries again; children that failed are retried first. Where the body itself failed, and not
    a step, it goes on from its last event, which is of use once its code is repaired.

    Raises:
        RunNotFoundError: there is no such run.
        EntityConflictError: it has not failed; or another run owns the token of one of its hooks by now; or it failed
            by a child that was cancelled or pruned; or its payloads were erased. Nothing was written.
        ReplayDivergenceError: the code at hand does not fit what the run did before it failed. Nothing was written.
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
        ReplayDivergenceError: the code at hand does not fit what is to be copied. Nothing was written.
    """
    return RunHandle(_fork(plan_fork(run_id, from_step, input)))


@in_transaction
def _fork(plan: ForkPlan) -> str:
    return fork.fork_run(plan)


aretry_run = sync_to_async(retry_run)
aplan_fork = sync_to_async(plan_fork)
afork_run = sync_to_async(fork_run)
