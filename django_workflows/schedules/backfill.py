"""Runs for instants of the past, as if the schedule had been there. Bounded batches, each in a transaction of its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from django.db import transaction

from ..models import Schedule, ScheduleTick
from ..store import database
from ..values import clock
from . import ticks, timing
from .rows import lock_schedule

BATCH = 500
#: ticks of one backfill; more are asked for in parts
MOST = 100_000


def backfill(name: str, since: datetime, until: datetime) -> list[str]:
    """Make the ticks of ``since <= instant < until`` that were not made yet, whatever the overlap. Returns the runs' ids.

    Repeating it, or an interrupted one, makes nothing twice.

    Raises:
        ScheduleNotFoundError; ValueError: a moment without a zone, an empty span, one that reaches into the future, or
        more than 100,000 ticks.
    """
    begin, end = clock.require_aware(since).astimezone(UTC), clock.require_aware(until).astimezone(UTC)
    if begin >= end:
        raise ValueError("A backfill goes from an earlier moment to a later one.")
    if end > database.now():
        raise ValueError("A backfill is about the past: ticks of the future are made when their time comes.")
    instants = _instants(Schedule.objects.filter(name=name).first(), name, begin, end)
    made: list[str] = []
    while batch := list(islice(instants, BATCH)):
        with transaction.atomic(using=database.alias()):
            made += _make_batch(lock_schedule(name), batch)
    return made


def _instants(schedule: Schedule | None, name: str, begin: datetime, end: datetime) -> Iterator[datetime]:
    with transaction.atomic(using=database.alias()):
        row = schedule or lock_schedule(name)
    found = []
    for instant in timing.instants_after(row, begin - timedelta(microseconds=1)):
        if instant >= end:
            break
        found.append(instant)
        if len(found) > MOST:
            raise ValueError(f"The span holds more than {MOST:,} ticks; do it in parts.")
    return iter(found)


def _make_batch(row: Schedule, instants: list[datetime]) -> list[str]:
    known = {tick.at: tick for tick in ScheduleTick.objects.filter(schedule=row, at__in=instants).select_for_update()}
    last = row.last_at, row.last_run_id
    now, made, new = database.now(), [], []
    for instant in instants:
        tick = known.get(instant)
        if tick is not None and not tick.skipped:
            continue
        run_id = ticks.make_run(row, instant)
        made.append(run_id)
        if tick is None:
            new.append(ScheduleTick(schedule=row, at=instant, run_id=run_id, created_at=now))
        else:
            tick.run_id, tick.skipped = run_id, ""
            tick.save(update_fields=["run", "skipped"])
    ScheduleTick.objects.bulk_create(new)
    row.last_at, row.last_run_id = last
    return made
