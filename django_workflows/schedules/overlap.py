"""What a tick does that meets an earlier run of its schedule which has not ended. Waiting and sleeping runs count."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..eventlog.statuses import TERMINAL_RUN, RunStatus
from ..models import Run, Schedule, ScheduleTick


@dataclass(slots=True)
class OpenTicks:
    """Of one locked schedule: its active runs, and its ticks that wait for them, oldest first."""

    active: list[str] = field(default_factory=list)
    waiting: list[ScheduleTick] = field(default_factory=list)
    #: runs that have failed since the last look
    failed: list[str] = field(default_factory=list)


def open_ticks(schedule: Schedule) -> OpenTicks:
    """Look at the runs of the ticks that were open, and close those that have ended. The caller holds the schedule."""
    found = OpenTicks()
    ticks = list(ScheduleTick.objects.filter(schedule=schedule, open=True).order_by("at"))
    made = [tick.run_id for tick in ticks if tick.run_id is not None]
    statuses = dict(Run.objects.filter(pk__in=made).values_list("pk", "status"))
    ended = []
    for tick in ticks:
        status = statuses.get(tick.run_id)
        if tick.run_id is None:
            found.waiting.append(tick)
        elif status is None or status in TERMINAL_RUN:
            ended.append(tick.pk)
            if status == RunStatus.FAILED:
                found.failed.append(tick.run_id)
        else:
            found.active.append(tick.run_id)
    if ended:
        ScheduleTick.objects.filter(pk__in=ended).update(open=False)
    return found


#: what a tick comes to: a run now, a place in the queue, or none and why
MAKE, WAIT = "make", "wait"


def judge(schedule: Schedule, found: OpenTicks) -> str:
    """:data:`MAKE`, :data:`WAIT`, or a sentence that says why the tick is skipped."""
    if schedule.overlap == "allow" or not (found.active or found.waiting):
        return MAKE
    if schedule.overlap == "queue_all" or (schedule.overlap in ("queue", "cancel") and not found.waiting):
        return WAIT
    if schedule.overlap in ("queue", "cancel"):
        return f"another tick waits already for run {found.active[0]} to end" if found.active else "another tick waits"
    return f"run {found.active[0]} has not ended" if found.active else "another tick waits"
