"""What a run waits for, in words: for one run or for a page of them, in a handful of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..authoring.registry import find_step
from ..eventlog.statuses import ACTIVE_STEP, RunStatus, StepStatus
from ..models import Hook, Run, Step, Wait, Worker
from ..values import clock
from ..values.durations import humanize
from .text import format_age, format_time, mask_token, one_line, short_name
from .workers import OVERDUE_AFTER

#: open entities of one run that are put into words
_EACH = 20


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that a run waits for.

    ``kind``: blocked, cancelling, step, retry, queued, hook, child, sleep, start or due.
    """

    kind: str
    text: str
    #: what an action needs: a hook's token, a child's id, a wait's correlation id
    target: str = ""
    since: datetime | None = None


def waits_for(run: Run, now: datetime | None = None) -> list[Reason]:
    """Why this run does not continue, the most telling reason first; [] when it has ended."""
    return waits_of([run], now)[run.pk]


def waits_of(runs: Sequence[Run], now: datetime | None = None) -> dict[str, list[Reason]]:
    """The same for many runs at once, by run id."""
    now = now or clock.now()
    active = [run for run in runs if run.status in (RunStatus.PENDING, RunStatus.RUNNING)]
    found: dict[str, list[Reason]] = {run.pk: _head(run, now) for run in active}
    if active:
        ids = [run.pk for run in active]
        for reasons in (_steps(ids, now), _hooks(ids, now), _children(ids, now), _sleeps(active, now)):
            for run_id, some in reasons.items():
                found[run_id].extend(some[:_EACH])
    for run in active:
        late = run.wake_at is not None and run.wake_at < now - OVERDUE_AFTER
        if not found[run.pk] or (late and not run.blocked_reason):
            found[run.pk][:0] = _due(run, now)
    return {run.pk: found.get(run.pk, []) for run in runs}


def summary(reasons: Sequence[Reason], most: int = 2) -> str:
    """``"hook packed:42 for 3 h, sleeping until 14:05"``: the first reasons in one line."""
    more = f" (+{len(reasons) - most})" if len(reasons) > most else ""
    return ", ".join(one_line(reason.text, 150) for reason in reasons[:most]) + more


def _rows(model: Any, **conditions: Any) -> Any:
    return model.objects.filter(**conditions)


def _head(run: Run, now: datetime) -> list[Reason]:
    """Reasons that outrank all others: the code does not fit, or the run is being ended."""
    reasons = []
    if run.blocked_reason:
        again = " (to be tried again now)"
        if run.blocked_until is not None and run.blocked_until > now:
            again = f" (next try in {humanize(run.blocked_until - now)})"
        reasons.append(Reason("blocked", f"blocked: {one_line(run.blocked_reason, 600)}{again}"))
    if run.cancel_requested_at is not None:
        reasons.append(
            Reason(
                "cancelling",
                f"cancelling: its cleanup runs for {format_age(run.cancel_requested_at, now)}",
                since=run.cancel_requested_at,
            )
        )
    elif run.timed_out_at is not None:
        reasons.append(
            Reason(
                "cancelling",
                f"past its deadline: its cleanup runs for {format_age(run.timed_out_at, now)}",
                since=run.timed_out_at,
            )
        )
    return reasons


def _steps(ids: Sequence[str], now: datetime) -> dict[str, list[Reason]]:
    rows = _rows(Step, run_id__in=ids, status__in=sorted(ACTIVE_STEP)).defer("input", "output", "error")
    steps = list(rows.order_by("created_at", "pk")[:2000])
    workers = {worker.pk: str(worker) for worker in _rows(Worker, pk__in={s.worker_id for s in steps if s.worker_id})}
    found: dict[str, list[Reason]] = defaultdict(list)
    for running in (True, False):
        for step in steps:
            if (step.status == StepStatus.RUNNING) is running:
                found[step.run_id].append(_step(step, now, workers))
    return found


def _step(step: Step, now: datetime, workers: dict[str, str]) -> Reason:
    name = short_name(step.name)
    if step.status == StepStatus.RUNNING:
        since = format_age(step.started_at or step.created_at, now)
        which = f", attempt {step.attempt}" if step.attempt > 1 else ""
        where = f" on {workers[step.worker_id]}" if step.worker_id in workers else ""
        began = step.started_at or step.created_at
        return Reason("step", f"{name} runs for {since}{which}{where}", step.correlation_id, began)
    if step.attempt and step.available_at > now:
        definition = find_step(step.name)
        of = f"/{definition.policy.max_retries}" if definition is not None else ""
        delay = humanize(step.available_at - now)
        return Reason("retry", f"retry {step.failures or step.attempt}{of} of {name} in {delay}", step.correlation_id)
    text = f"{name} is queued for {format_age(step.available_at, now)}"
    return Reason("queued", text, step.correlation_id, step.available_at)


def _hooks(ids: Sequence[str], now: datetime) -> dict[str, list[Reason]]:
    found: dict[str, list[Reason]] = defaultdict(list)
    rows = _rows(Hook, run_id__in=ids, disposed_at__isnull=True).defer("metadata", "options")
    for hook in rows.order_by("created_at", "pk")[:2000]:
        what = "webhook" if hook.is_webhook else "hook"
        text = f"{what} {mask_token(hook.token, hook.is_webhook)} for {format_age(hook.created_at, now)}"
        found[hook.run_id].append(Reason("hook", text, hook.token, hook.created_at))
    return found


def _children(ids: Sequence[str], now: datetime) -> dict[str, list[Reason]]:
    found: dict[str, list[Reason]] = defaultdict(list)
    rows = _rows(Run, parent_id__in=ids, detached=False).active().only("pk", "parent_id", "workflow", "created_at")
    for child in rows.order_by("created_at", "pk")[:2000]:
        text = f"child {short_name(child.workflow)} for {format_age(child.created_at, now)}"
        found[str(child.parent_id)].append(Reason("child", text, child.pk, child.created_at))
    return found


def _sleeps(runs: Sequence[Run], now: datetime) -> dict[str, list[Reason]]:
    found: dict[str, list[Reason]] = defaultdict(list)
    ids = [run.pk for run in runs]
    for wait in _rows(Wait, run_id__in=ids).open().order_by("due_at", "pk")[:2000]:
        text = f"sleeping until {format_time(wait.due_at, now)}"
        if wait.due_at <= now:
            text = f"a sleep that was due at {format_time(wait.due_at, now)}"
        found[wait.run_id].append(Reason("sleep", text, wait.correlation_id, wait.created_at))
    return found


def _due(run: Run, now: datetime) -> list[Reason]:
    if run.wake_at is None:
        return []
    if run.wake_at > now:
        what = "starts" if run.status == RunStatus.PENDING else "continues"
        return [Reason("start", f"{what} at {format_time(run.wake_at, now)}")]
    late = now - run.wake_at
    if late < OVERDUE_AFTER:
        return [Reason("due", "about to continue", since=run.wake_at)]
    text = f"due for {humanize(late)}: no worker of queue {run.queue} has taken it"
    return [Reason("due", text, since=run.wake_at)]
