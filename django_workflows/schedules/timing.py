"""The instants of a schedule's row, and by how much each is put off."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from ..models import Schedule
from ..values.cron import Cron, Every


def times_of(schedule: Schedule) -> Cron | Every:
    """Raises ``ValueError`` where the zone of the row is unknown to this process."""
    if "cron" in schedule.spec:
        return Cron(schedule.spec["cron"], schedule.tz)
    return Every(schedule.spec["every"], datetime.fromisoformat(schedule.spec["epoch"]))


def instants_after(schedule: Schedule, moment: datetime) -> Iterator[datetime]:
    """The instants after ``moment``, in UTC, in order."""
    return times_of(schedule).after(moment)


def due_at(schedule: Schedule, instant: datetime) -> datetime:
    """When the tick of this instant is to be made: the same in every process, whatever was changed in between."""
    if not schedule.jitter:
        return instant
    digest = hashlib.sha256(f"{schedule.name} {instant.timestamp():.6f}".encode()).digest()
    return instant + timedelta(seconds=schedule.jitter) * (int.from_bytes(digest[:8]) / 2**64)


def set_next(schedule: Schedule, after: datetime) -> None:
    """The first instant after ``after`` is the next; None where the schedule never fires again."""
    schedule.next_at = next(instants_after(schedule, after), None)
    schedule.due_at = None if schedule.next_at is None else due_at(schedule, schedule.next_at)


def key_of(name: str, instant: datetime) -> str:
    """The idempotency key of the run that an instant makes."""
    return f"schedule:{name}:{instant.astimezone(UTC).isoformat()}"
