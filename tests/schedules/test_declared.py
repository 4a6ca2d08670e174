"""What the code declares is kept by the worker that started last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_workflows import api, cron, every, workflow
from django_workflows.authoring import registry
from django_workflows.exceptions import EntityConflictError
from django_workflows.models import Schedule, Worker
from django_workflows.schedules import declared
from django_workflows.store import database
from django_workflows.values import clock

HOUR = timedelta(hours=1)
OLD, NEW = datetime(2026, 10, 19, 10, tzinfo=UTC), datetime(2026, 10, 19, 11, tzinfo=UTC)


@pytest.fixture
def deploy() -> Iterator[Callable[..., None]]:
    """``deploy(*schedules, at=…)``: a worker starts whose code declares these for the workflow ``tests.declared``."""
    with registry.isolated(empty=True):

        def start(*schedules: Any, at: datetime, name: str = "tests.declared") -> None:
            with registry.isolated(empty=True):

                @workflow(name=name, schedules=list(schedules))
                async def body(kind: str = "short") -> None: ...

                declared.synchronise(at)

        yield start


def rows() -> dict[str, Schedule]:
    return {row.name: row for row in Schedule.objects.all()}


def test_a_worker_writes_what_its_code_declares(deploy: Callable[..., None]) -> None:
    deploy(cron("0 9 * * mon-fri", tz="Europe/Berlin", args=("daily",)), every("15m", name="often"), at=NEW)
    found = rows()
    assert found.keys() == {"tests.declared", "tests.declared:often"}
    assert found["tests.declared"].spec == {"cron": "0 9 * * mon-fri"}
    assert found["tests.declared"].input == {"args": ["daily"], "kwargs": {}}
    assert all(row.declared for row in found.values())


def test_the_worker_that_started_last_decides_and_nothing_flaps(deploy: Callable[..., None]) -> None:
    deploy(every("15m"), at=OLD)
    deploy(every("20m"), at=NEW)
    deploy(every("15m"), at=OLD)
    assert rows()["tests.declared"].spec["every"] == 1200


def test_one_that_is_gone_is_paused_and_comes_back_from_now(deploy: Callable[..., None]) -> None:
    deploy(every("15m"), at=OLD)
    deploy(at=NEW)
    row = rows()["tests.declared"]
    assert (row.paused_reason, row.paused_by) == ("no longer declared", "code")
    deploy(every("15m"), at=OLD)
    assert rows()["tests.declared"].paused_at is not None, "an older worker does not bring it back"
    clock.advance(100 * HOUR)
    deploy(every("15m"), at=NEW + HOUR)
    row = rows()["tests.declared"]
    assert row.paused_at is None
    assert row.next_at is not None
    assert row.next_at > database.now()


def test_a_persons_pause_outlives_restarts_and_deploys(deploy: Callable[..., None]) -> None:
    deploy(every("15m"), at=OLD)
    api.get_schedule("tests.declared").pause("month's end")
    deploy(every("20m"), at=NEW)
    row = rows()["tests.declared"]
    assert (row.paused_reason, row.spec["every"]) == ("month's end", 1200)


def test_a_schedule_of_another_code_base_on_the_same_database_is_left_alone(deploy: Callable[..., None]) -> None:
    deploy(every("15m"), at=OLD, name="other.declared")
    now = database.now()
    Worker.objects.create(id="w", hostname="h", pid=1, workflows=["other.declared"], started_at=now, heartbeat_at=now)
    deploy(at=NEW)
    assert rows()["other.declared"].paused_at is None
    Worker.objects.update(stopped_at=now)
    deploy(at=NEW)
    assert rows()["other.declared"].paused_reason == "no longer declared"


def test_an_unchanged_declaration_keeps_its_rhythm_over_deploys(deploy: Callable[..., None]) -> None:
    deploy(every("1h"), at=OLD)
    before = rows()["tests.declared"].next_at
    clock.advance(timedelta(minutes=40))
    deploy(every("1h"), at=NEW)
    assert rows()["tests.declared"].next_at == before


def test_a_declared_one_is_changed_in_the_code_only(deploy: Callable[..., None]) -> None:
    deploy(every("1h"), at=OLD)
    handle = api.get_schedule("tests.declared")
    for verb in (handle.delete, lambda: handle.update(every="2h")):
        with pytest.raises(EntityConflictError, match="declared in the code"):
            verb()


def test_one_that_cannot_be_used_is_passed_over_and_logged(
    deploy: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    deploy(cron("30 2 30 2 *", name="never"), every("1h"), at=NEW)
    assert rows().keys() == {"tests.declared"}
    assert "tests.declared:never" in caplog.text


@pytest.mark.parametrize("given", [every("1h"), [5], "0 9 * * *", [cron]])
def test_what_was_not_made_by_cron_or_every_fails_at_import(given: Any) -> None:
    with registry.isolated(empty=True), pytest.raises(TypeError, match="schedules is a list of"):

        @workflow(name="tests.wrong", schedules=given)
        async def wrong() -> None: ...


def test_an_unknown_keyword_fails_at_import() -> None:
    with pytest.raises(TypeError, match="no keyword 'overlaps'"):
        every("1h", overlaps="skip")
