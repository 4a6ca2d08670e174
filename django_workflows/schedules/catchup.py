"""Which of the ticks that are due are made up. Several are due after an outage, or one that no worker was there for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ..models import Schedule
from ..values.durations import humanize
from . import timing

#: a tick that is made later than this was missed; a worker that is alive is late by a fraction of a second
MISSED_AFTER = timedelta(minutes=1)
#: ticks that one transaction makes
BATCH = 100
#: skipped ticks of one outage that have a row each; one more row counts the rest
SKIP_ROWS = 100


@dataclass(slots=True)
class Due:
    """``make``: instants to be made now, oldest first. ``skip``: (instant, why) in order; ``uncounted`` more besides."""

    make: list[datetime] = field(default_factory=list)
    skip: list[tuple[datetime, str]] = field(default_factory=list)
    uncounted: int = 0
    #: the last instant that was looked at
    last: datetime | None = None

    def leave_out(self, instant: datetime, why: str) -> None:
        if len(self.skip) < SKIP_ROWS:
            self.skip.append((instant, why))
        else:
            self.uncounted += 1


def due_ticks(schedule: Schedule, now: datetime) -> Due:
    """What to do with the instants from ``next_at`` on whose time has come."""
    due = Due()
    policy = _make_up_all if schedule.catchup == "all" else _make_up_newest
    policy(schedule, now, due)
    return due


def _come(schedule: Schedule, now: datetime) -> Iterator[datetime]:
    """Instants whose time has come, oldest first."""
    assert schedule.next_at is not None
    instant: datetime | None = schedule.next_at
    later = timing.instants_after(schedule, schedule.next_at)
    while instant is not None and timing.due_at(schedule, instant) <= now:
        yield instant
        instant = next(later, None)


def _make_up_all(schedule: Schedule, now: datetime, due: Due) -> None:
    for instant in _come(schedule, now):
        due.last = instant
        if too_old := _too_old(schedule, instant, now):
            due.leave_out(instant, too_old)
            continue
        due.make.append(instant)
        if len(due.make) >= BATCH:
            return


def _make_up_newest(schedule: Schedule, now: datetime, due: Due) -> None:
    older: datetime | None = None
    for instant in _come(schedule, now):
        if older is not None:
            due.leave_out(older, _why_not(schedule, older, now, newest=False))
        older = due.last = instant
    assert older is not None
    if why := _why_not(schedule, older, now, newest=True):
        due.leave_out(older, why)
    else:
        due.make.append(older)


def _why_not(schedule: Schedule, instant: datetime, now: datetime, *, newest: bool) -> str:
    if too_old := _too_old(schedule, instant, now):
        return too_old
    if schedule.catchup == "none":
        return "missed: no worker made it in time" if now - _due(schedule, instant) > MISSED_AFTER or not newest else ""
    return "" if newest else "missed: a later tick was made up instead"


def _too_old(schedule: Schedule, instant: datetime, now: datetime) -> str:
    if schedule.catchup_window is None:
        return ""
    late, window = now - _due(schedule, instant), timedelta(seconds=schedule.catchup_window)
    return f"missed: older than the catch-up window of {humanize(window)}" if late > window else ""


def _due(schedule: Schedule, instant: datetime) -> datetime:
    return timing.due_at(schedule, instant)
