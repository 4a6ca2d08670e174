from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from django_workflows import api
from django_workflows.models import Run, ScheduleTick
from django_workflows.schedules import ticks
from django_workflows.store import database
from django_workflows.values import clock

from . import bodies

#: a Monday at noon, before the clocks of Berlin are put back
START = datetime(2026, 10, 19, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _at_the_start(db: None, verified: None) -> Iterator[None]:
    """The clock stands at START; every run obeys the rules in the end."""
    clock.advance(START - database.now())
    yield
    clock.reset()


@pytest.fixture
def until() -> Callable[[datetime | str], int]:
    """``until(moment)``: move the clock there and make the due ticks, as one poll of a worker would. Returns how many."""

    def move(moment: datetime | str) -> int:
        target = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        clock.advance(target - database.now() + timedelta(milliseconds=1))
        return ticks.make_due(bodies.NAMES)

    return move


def made(name: str) -> list[str]:
    """The instants of a schedule that made runs, as short text."""
    found = ScheduleTick.objects.filter(schedule__name=name, skipped="", run__isnull=False).order_by("at")
    return [f"{at.astimezone(UTC):%d %H:%M}" for at in found.values_list("at", flat=True)]


def skipped(name: str) -> list[tuple[str, str]]:
    found = ScheduleTick.objects.filter(schedule__name=name).exclude(skipped="").order_by("at")
    return [(f"{at.astimezone(UTC):%d %H:%M}", why) for at, why in found.values_list("at", "skipped")]


def active(name: str) -> list[str]:
    return list(Run.objects.active().filter(attributes__schedule=name).values_list("pk", flat=True))


def end(run_id: str) -> None:
    api.cancel_run(run_id, force=True)
