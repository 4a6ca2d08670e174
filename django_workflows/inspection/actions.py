"""What may be done to a run as it stands: the doors show these actions, ``api`` still decides under the run's lock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ..eventlog.statuses import ACTIVE_RUN, RunStatus, WaitStatus
from ..models import Hook, Run, Wait

#: what helps a run on comes before what ends it
VERBS = ("unblock", "retry", "wake", "cancel", "force")


def why_not(run: Run, verb: str, *, sleeping: bool) -> str | None:
    """None if ``verb`` would do something to this run, else why it would not. ``sleeping``: it has an open wait."""
    active = run.status in ACTIVE_RUN
    if verb == "retry":
        return None if run.status == RunStatus.FAILED else f"is {run.status}, not failed"
    if not active:
        return f"has ended ({run.status})"
    if verb == "cancel" and run.cancel_requested_at is not None:
        return "is being cancelled already"
    if verb == "wake" and not sleeping:
        return "does not sleep"
    if verb == "unblock" and not run.blocked_reason:
        return "is not blocked"
    return None


def available(run: Run) -> list[str]:
    """The verbs that would do something to this run."""
    sleeping = bool(sleeping_runs([run]))
    return [verb for verb in VERBS if why_not(run, verb, sleeping=sleeping) is None]


def sleeping_runs(runs: Iterable[Run]) -> set[str]:
    """Which of these runs have an open wait."""
    ids = [run.pk for run in runs if run.status in ACTIVE_RUN]
    rows = Wait.objects.filter(run_id__in=ids, status=WaitStatus.WAITING)
    return set(rows.values_list("run_id", flat=True)) if ids else set()


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a verb would do to many runs: those it fits, and how many it would leave alone, by reason."""

    runs: list[Run]
    left_alone: list[tuple[str, int]]


def dry_run(runs: Iterable[Run], verb: str) -> DryRun:
    """What ``verb`` would do to these runs; asks about all of them in one query, and writes nothing."""
    chosen = list(runs)
    asleep = sleeping_runs(chosen) if verb == "wake" else set()
    reasons: Counter[str] = Counter()
    fitting = []
    for run in chosen:
        why = why_not(run, verb, sleeping=run.pk in asleep)
        if why is None:
            fitting.append(run)
        else:
            reasons[why] += 1
    return DryRun(fitting, reasons.most_common())


def open_hooks(run: Run) -> list[Hook]:
    """The run's active hooks, oldest first."""
    if run.status not in ACTIVE_RUN:
        return []
    rows = Hook.objects.active().filter(run_id=run.pk)
    return list(rows.defer("metadata", "options").order_by("created_at", "pk")[:50])


def open_waits(run: Run) -> list[Wait]:
    """The run's open sleeps, the earliest first."""
    rows = Wait.objects.open().filter(run_id=run.pk)
    return list(rows.order_by("due_at", "pk")[:50]) if run.status in ACTIVE_RUN else []
