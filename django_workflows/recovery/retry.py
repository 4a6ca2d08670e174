"""``retry_run``: a failed run begins another life, in the same log, with the same steps under the same ids.

Every entity that the log, without what the retry leaves out, calls open is open again; the rest stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection

from django.db import IntegrityError

from ..eventlog.fold import Fold, fold
from ..eventlog.statuses import TERMINAL_RUN, TERMINAL_STEP, StepStatus, WaitStatus
from ..exceptions import EntityConflictError, FenceConflictError
from ..models import Hook, Outbox
from ..services import outbox
from ..services.children import current_children
from ..services.continuation import allowed_time
from ..store.event_log import append
from ..store.locking import read_all_steps, read_all_waits
from ..store.transactions import atomic
from ..store.transition import Transition
from .retry_plan import RetryPlan, plan_retry, require_failed, run_retried

__all__ = ["RetryPlan", "plan_retry", "retry_run"]


def retry_run(transition: Transition, plan: RetryPlan) -> None:
    """Reopen the log of a failed run and all that the plan keeps open.

    Raises:
        EntityConflictError: the run has not failed, or another run owns the token of one of its hooks by now.
        FenceConflictError: the log has grown since the plan was made; make it again.
    """
    run = transition.run
    require_failed(run.id, run.status)
    if run.last_sequence != plan.expected_sequence:
        raise FenceConflictError(run.id, plan.expected_sequence, run.last_sequence)
    folded = fold(plan.log)
    timeout = allowed_time(transition)
    run.life += 1
    append(transition, run_retried(plan.skipped))
    run.deadline_at = None if timeout is None else transition.now + timeout  # the same time again, from now
    run.status = folded.status
    run.attributes = folded.attributes
    run.output = run.error = run.completed_at = run.expires_at = run.timed_out_at = None
    run.error_code = ""
    run.blocked_reason, run.blocked_until, run.blocked_count, run.blocked_version = "", None, 0, ""
    run.pauses, run.crashes = None, 0
    _reopen_steps(transition, folded, set(plan.steps))
    _reopen_waits(transition, folded)
    _reopen_hooks(transition, folded)
    _settle_debts(transition, folded)
    run.wake_at = transition.now
    transition.run_changed = True
    transition.wake.add(transition.run.id)
    transition.changed.append(run.id)


def _reopen_steps(transition: Transition, folded: Fold, failed: Collection[str]) -> None:
    """Steps that the end of the run cut off, and the failed ones, wait for a worker again, their budgets renewed."""
    wanted = set(folded.open_steps)
    for step in read_all_steps(transition):
        if step.correlation_id not in wanted:
            if step.status not in TERMINAL_STEP:  # of what is left out: its result is no longer wanted
                step.status, step.completed_at = StepStatus.CANCELLED, transition.now
                transition.change_step(step)
            continue
        if step.status in TERMINAL_STEP:
            step.status, step.worker_id = StepStatus.PENDING, None
            step.completed_at = step.output = None
            step.available_at = transition.now
            transition.change_step(step)
        if step.correlation_id in failed:
            step.failures = step.losses = 0
        transition.entities.steps[step.correlation_id] = step


def _reopen_waits(transition: Transition, folded: Fold) -> None:
    wanted = set(folded.open_waits)
    for wait in read_all_waits(transition):
        if wait.correlation_id in wanted and wait.status == WaitStatus.CANCELLED:
            wait.status, wait.completed_at = WaitStatus.WAITING, None
            transition.change_wait(wait)
            transition.entities.add_wait(wait)


def _reopen_hooks(transition: Transition, folded: Fold) -> None:
    """Take the tokens back, in their order, so that two runs that do so cannot wait for each other."""
    rows = Hook.objects.filter(run_id=transition.run.id, disposed_at__isnull=False)
    for hook in rows.filter(correlation_id__in=folded.open_hooks).order_by("token"):
        try:
            with atomic():
                rows.filter(pk=hook.pk).update(disposed_at=None)
        except IntegrityError:
            owner = Hook.objects.active().filter(token=hook.token).first()
            raise EntityConflictError(
                f"The token of {hook.correlation_id} of run {transition.run.id} belongs to "
                f"{owner.run_id if owner else 'another run'} by now. Retry when that run has ended or disposed it."
            ) from None


def _settle_debts(transition: Transition, folded: Fold) -> None:
    """The run has not ended after all, so no parent is notified; children that ended meanwhile notify it (again)."""
    run = transition.run
    Outbox.objects.filter(run_id=run.id, kind__in=(outbox.CHILD_ENDED, outbox.CANCEL_CHILD)).delete()
    children = current_children(run.id, folded.open_children)
    for correlation_id in folded.open_children:
        child = children.get(correlation_id)
        if child is None:
            raise EntityConflictError(
                f"The child {correlation_id} of run {run.id} has been pruned; its end is unknown."
            )
        if child.status in TERMINAL_RUN:
            outbox.queue_child_ended_again(child.pk, run.id, transition.now)
