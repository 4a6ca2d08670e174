"""Due schedules to runs. One tick, one transaction: lock the row, make the run, move ``next_at``.

Any number of workers may do this at once: a row that another one holds is passed over. A worker that dies in between has
done nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from ..authoring.registry import find_workflow
from ..models import Schedule, ScheduleTick
from ..serialization import dumps
from ..services import runs
from ..services.creation import create_runs
from ..services.start_options import new_run
from ..store import database, faults, locking
from ..store.write import write
from ..values.durations import humanize
from . import overlap, timing
from .catchup import due_ticks

logger = logging.getLogger(__name__)

#: schedules that one look serves
MOST = 100
#: how soon a tick that waits for a run looks again whether it has ended
LOOK_AGAIN = timedelta(seconds=1)
#: between two tries of a schedule that the store refuses
LONGEST_PAUSE = timedelta(minutes=1)
CANCEL_REASON = "the next tick of its schedule has come"


def make_due(workflows: Sequence[str], limit: int = MOST) -> int:
    """Make the ticks whose time has come, of schedules of these workflows. Returns how many schedules were served.

    A schedule that cannot be served is paused with its reason; one that the store refuses for now is put off, the longer
    the later it is. The others are served in either case.
    """
    served: list[int] = []
    for _ in range(limit):
        with transaction.atomic(using=database.alias()):
            schedule = _lock_due(workflows, served)
            if schedule is None:
                break
            served.append(schedule.pk)
            try:
                with transaction.atomic(using=database.alias()):
                    _serve(schedule, database.now())
            except Exception as error:
                fault = faults.classify(error)
                if fault.kind is faults.Kind.GONE:
                    raise
                if fault.will_pass:
                    _put_off(schedule, database.now(), fault)
                    continue
                logger.warning("Schedule %s is paused: it cannot be served.", schedule.name, exc_info=True)
                pause(schedule, database.now(), f"cannot be served: {error}", by="failure")
    return len(served)


def _put_off(schedule: Schedule, now: datetime, fault: faults.Fault) -> None:
    """Its tick is not lost: it is tried again, after as long as it is late by now. The others do not wait for it."""
    late = timedelta(0) if schedule.next_at is None else now - timing.due_at(schedule, schedule.next_at)
    pause = min(max(late, LOOK_AGAIN), LONGEST_PAUSE)
    logger.warning("Schedule %s is tried again in %s: %s.", schedule.name, humanize(pause), fault.sentence)
    Schedule.objects.filter(pk=schedule.pk).update(due_at=now + pause)


def _lock_due(workflows: Sequence[str], served: Sequence[int]) -> Schedule | None:
    due = Schedule.objects.filter(paused_at__isnull=True, due_at__lte=database.now(), workflow__in=workflows)
    return due.exclude(pk__in=served).order_by("due_at").select_for_update(skip_locked=True, of=("self",)).first()


def _serve(schedule: Schedule, now: datetime) -> None:
    found = overlap.open_ticks(schedule)
    if schedule.pause_on_failure and found.failed:
        pause(schedule, now, f"run {found.failed[-1]} failed", by="failure")
        return
    _make_waiting(schedule, found, now)
    if schedule.next_at is not None and timing.due_at(schedule, schedule.next_at) <= now:
        _make_new(schedule, found, now)
    if found.waiting and schedule.overlap == "cancel":
        _cancel(found.active)
    if found.waiting and schedule.due_at is not None:
        schedule.due_at = min(schedule.due_at, now + LOOK_AGAIN)
    elif found.waiting:
        schedule.due_at = now + LOOK_AGAIN
    schedule.save(update_fields=["next_at", "due_at", "last_at", "last_run"])


def _make_waiting(schedule: Schedule, found: overlap.OpenTicks, now: datetime) -> None:
    """The first tick that waits gets its run when those before it have ended."""
    if found.waiting and not found.active:
        tick = found.waiting.pop(0)
        tick.run_id = make_run(schedule, tick.at)
        tick.save(update_fields=["run"])
        found.active.append(str(tick.run_id))
    schedule.due_at = None if schedule.next_at is None else timing.due_at(schedule, schedule.next_at)


def _make_new(schedule: Schedule, found: overlap.OpenTicks, now: datetime) -> None:
    due = due_ticks(schedule, now)
    skipped = [_skipped(schedule, at, why, now) for at, why in due.skip]
    if due.uncounted:
        skipped[
            -1
        ].skipped = f"{skipped[-1].skipped}; and {due.uncounted} more ticks up to {due.last:%Y-%m-%d %H:%M} UTC"
    ScheduleTick.objects.bulk_create(skipped, ignore_conflicts=True)
    made = _made(schedule, due.make)
    for instant in due.make:
        if instant not in made:
            _make(schedule, found, instant, now)
    assert due.last is not None
    timing.set_next(schedule, due.last)


def _made(schedule: Schedule, instants: Sequence[datetime]) -> set[datetime]:
    """Those that a backfill has made before their turn came."""
    ticks = ScheduleTick.objects.filter(schedule=schedule, at__in=instants)
    return set(ticks.values_list("at", flat=True))


def _make(schedule: Schedule, found: overlap.OpenTicks, instant: datetime, now: datetime) -> None:
    verdict = overlap.judge(schedule, found)
    if verdict == overlap.MAKE:
        run_id = make_run(schedule, instant)
        ScheduleTick.objects.create(schedule=schedule, at=instant, run_id=run_id, open=True, created_at=now)
        found.active.append(run_id)
    elif verdict == overlap.WAIT:
        tick = ScheduleTick.objects.create(schedule=schedule, at=instant, open=True, created_at=now)
        found.waiting.append(tick)
    else:
        _skipped(schedule, instant, verdict, now).save()


def _cancel(run_ids: Sequence[str]) -> None:
    """Ask those to end that can be locked now. A run that a long transaction holds is asked at the next look."""
    for transition in locking.lock_runs(sorted(run_ids), skip_locked=True):
        if not transition.run.ended and runs.request_cancel(transition, CANCEL_REASON, force=False):
            write([transition])


def _skipped(schedule: Schedule, instant: datetime, why: str, now: datetime) -> ScheduleTick:
    return ScheduleTick(schedule=schedule, at=instant, skipped=why, created_at=now)


def make_run(schedule: Schedule, instant: datetime, *, key: str | None = None) -> str:
    """The run of one instant: the same id again where it has been made before. Returns the run's id."""
    definition = find_workflow(schedule.workflow)
    if definition is None:
        raise ValueError(f"no workflow is called {schedule.workflow!r} here")
    given: dict[str, Any] = schedule.input
    definition.check_arguments(given["args"], given["kwargs"])
    options = dict(schedule.options)
    options["attributes"] = {**(options.get("attributes") or {}), "schedule": schedule.name}
    options["idempotency_key"] = key or timing.key_of(schedule.name, instant)
    run = new_run(definition.name, definition, dumps(given), options, scheduled_at=instant, context=schedule.context)
    (run_id,) = create_runs([run], notify=True)
    schedule.last_at, schedule.last_run_id = instant, run_id
    return run_id


def pause(schedule: Schedule, now: datetime, reason: str, *, by: str) -> None:
    """No ticks until it is resumed; those that come meanwhile are not made up."""
    schedule.paused_at, schedule.paused_reason, schedule.paused_by = now, reason, by
    schedule.save(update_fields=["paused_at", "paused_reason", "paused_by"])
