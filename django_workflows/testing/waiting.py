"""What a run waits for, in a sentence for the tester."""

from __future__ import annotations

from ..authoring.registry import find_step, find_workflow
from ..eventlog.statuses import ACTIVE_STEP
from ..models import Hook, Run, Step

#: how often the clock is advanced for one run before it counts as endless
MAX_JUMPS = 10_000


class StillWaitingError(AssertionError):
    """The run cannot go on by itself: time alone does not end what it waits for. The message says what that is."""


class ParkedError(AssertionError):
    """The run cannot be advanced with this code: its body does not fit its log, or raised outside of itself."""


def describe_waiting(run: Run) -> str:
    """Why a run cannot go on by itself, and what the test can do about it."""
    reasons = [*_names(run), *_hooks(run), *_children(run)]
    what = "; ".join(reasons) or "nothing: its body awaits something that nothing ever settles"
    return f"Run {run.pk} of {run.workflow} is {run.status} and waits for {what}."


def _names(run: Run) -> list[str]:
    if find_workflow(run.workflow) is None:
        return ["code that defines its workflow: its module has not been imported"]
    rows = Step.objects.filter(run=run, status__in=sorted(ACTIVE_STEP))
    unknown = [name for name in rows.values_list("name", flat=True) if find_step(name) is None]
    return [f"code that defines the step {name}" for name in sorted(set(unknown))]


def _hooks(run: Run) -> list[str]:
    rows = Hook.objects.filter(run=run, disposed_at__isnull=True).order_by("created_at", "pk")
    return [
        f"the {'webhook' if hook.is_webhook else 'hook'} {hook.token!r} (workflows.resume({hook.token!r}, payload))"
        for hook in rows
    ]


def _children(run: Run) -> list[str]:
    children = Run.objects.active().filter(parent=run).order_by("created_at", "pk")
    return [describe_waiting(child).removesuffix(".") for child in children]
