"""Creating, changing and removing schedules: a clear error, and nothing half-written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_workflows import api
from django_workflows.exceptions import EntityConflictError, ScheduleNotFoundError
from django_workflows.models import Run, Schedule
from django_workflows.store import database
from django_workflows.values import clock

from . import bodies
from .conftest import START, made

Until = Callable[[datetime | str], int]
HOUR = timedelta(hours=1)


def test_the_same_definition_returns_what_is_there() -> None:
    given: dict[str, Any] = {"every": "15m", "kwargs": {"kind": "long"}, "options": {"queue": "slow"}}
    first = api.create_schedule("s", bodies.report, **given)
    clock.advance(HOUR)
    assert api.create_schedule("s", bodies.report, **given) == first
    assert Schedule.objects.get().created_at < database.now() - timedelta(minutes=59)


@pytest.mark.parametrize(
    "change", [{"every": "16m"}, {"kwargs": {}}, {"overlap": "allow"}, {"options": {"queue": "x"}}]
)
def test_another_definition_under_a_taken_name_is_a_conflict(change: dict[str, Any]) -> None:
    given: dict[str, Any] = {"every": "15m", "kwargs": {"kind": "long"}}
    api.create_schedule("s", bodies.report, **given)
    with pytest.raises(EntityConflictError, match="already"):
        api.create_schedule("s", bodies.report, **{**given, **change})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "either cron= or every="),
        ({"cron": "0 9 * * *", "every": "1h"}, "either cron= or every="),
        ({"cron": "30 2 30 2 *"}, "30 2 30 2"),
        ({"cron": "* * * * * *"}, "five"),
        ({"cron": "0 9 * * *", "tz": "Mars/Olympus"}, "time zone"),
        ({"every": "0s"}, "interval"),
        ({"every": "1h", "overlap": "sometimes"}, "overlap is one of"),
        ({"every": "1h", "catchup": "sometimes"}, "catchup is one of"),
        ({"every": "1h", "catchup_window": "soon"}, "catchup_window"),
        ({"every": "1h", "jitter": -1}, "jitter"),
        ({"every": "1h", "args": (1, 2, 3)}, "too many positional"),
        ({"every": "1h", "kwargs": {"nothing": 1}}, "unexpected keyword"),
        ({"every": "1h", "kwargs": {"kind": object()}}, "kwargs"),
        ({"every": "1h", "options": {"idempotency_key": "x"}}, "each tick has its own"),
        ({"every": "1h", "options": {"nothing": 1}}, "no option"),
        ({"every": "1h", "options": {"queue": ""}}, "queue"),
    ],
)
def test_what_cannot_be_kept_says_why_and_leaves_nothing(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        api.create_schedule("s", bodies.report, **given)
    assert not Schedule.objects.exists()


@pytest.mark.parametrize("name", ["", "x" * 201, "x" * 300, "a\x00b", "a\nb"])
def test_a_name_that_is_none_says_so(name: str) -> None:
    with pytest.raises(ValueError, match="name has 1 to 200"):
        api.create_schedule(name, bodies.report, every="1h")


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="overlap") as caught:
        api.create_schedule("s", bodies.report, cron="x", overlap="y", jitter="z")
    assert "cron" in str(caught.value)
    assert "jitter" in str(caught.value)


def test_an_unknown_name_is_not_found() -> None:
    with pytest.raises(ScheduleNotFoundError, match="nothing"):
        api.get_schedule("nothing")
    handle = api.create_schedule("s", bodies.report, every="1h")
    handle.delete()
    for verb in (handle.pause, handle.resume, handle.trigger, handle.preview, handle.delete, handle.update):
        with pytest.raises(ScheduleNotFoundError):
            verb()  # type: ignore[operator]


class TestUpdates:
    def test_a_changed_interval_fires_neither_at_once_nor_never(self, until: Until) -> None:
        schedule = api.create_schedule("s", bodies.report, every="1h", overlap="allow")
        until(START + HOUR)
        clock.advance(timedelta(minutes=10))
        schedule.update(every="2h")
        assert until(START + HOUR + timedelta(minutes=30)) == 0
        until(START + 2 * HOUR)
        assert len(made("s")) == 2
        assert schedule.row.spec["every"] == 7200

    def test_from_cron_to_an_interval_and_back(self) -> None:
        schedule = api.create_schedule("s", bodies.report, cron="0 9 * * *", tz="Europe/Berlin")
        schedule.update(every="1h")
        assert schedule.row.spec.keys() == {"every", "epoch"}
        schedule.update(cron="0 10 * * *")
        assert schedule.next_at == datetime(2026, 10, 20, 8, tzinfo=UTC)

    def test_what_cannot_be_kept_changes_nothing(self) -> None:
        schedule = api.create_schedule("s", bodies.report, every="1h")
        before = schedule.row.next_at
        for changes in ({"cron": "x"}, {"tz": "x", "cron": "0 9 * * *"}, {"kwargs": {"a": 1}}):
            with pytest.raises(ValueError, match=r"cron|zone|keyword"):
                schedule.update(**changes)
        with pytest.raises(TypeError, match="no keyword"):
            schedule.update(name="t")
        assert schedule.row.next_at == before


def test_preview_is_what_the_worker_will_make(until: Until) -> None:
    schedule = api.create_schedule("s", bodies.report, cron="30 2 * * *", tz="Europe/Berlin", overlap="allow")
    promised = schedule.preview(8)
    assert [t.hour for t in promised] == [0] * 6 + [1] * 2, "the clocks are put back in the sixth of these nights"
    for moment in promised:
        until(moment)
    assert made("s") == [f"{t:%d %H:%M}" for t in promised]


def test_runs_stay_when_their_schedule_is_deleted(until: Until) -> None:
    schedule = api.create_schedule("s", bodies.report, every="1h")
    until(START + HOUR)
    schedule.delete()
    assert Run.objects.count() == 1
