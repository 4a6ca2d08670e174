"""Several workers, long transactions and a store that refuses: a schedule waits for none of them, and fires once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection, transaction

from django_workflows import api
from django_workflows.models import Run, Schedule, ScheduleTick
from django_workflows.schedules import ticks
from django_workflows.services import runs
from django_workflows.store import database
from django_workflows.values import clock
from tests.support.eventually import eventually
from tests.support.runs import transition
from tests.support.sessions import Session

from . import bodies
from .conftest import active, made

HOUR = timedelta(hours=1)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
]


@pytest.fixture(autouse=True)
def _tables(transactional_db: None) -> None:
    """Other sessions see what this one writes."""


def _pass(hours: float = 1, **more: float) -> None:
    clock.advance(timedelta(hours=hours, **more))


@pytest.mark.race
def test_ten_workers_make_a_tick_once() -> None:
    for name in range(20):
        api.create_schedule(f"s{name}", bodies.report, cron="0 * * * *", tz="UTC")
    _pass()
    gate = threading.Barrier(10)
    sessions = [Session(lambda: ticks.make_due(bodies.NAMES), gate) for _ in range(10)]
    assert sum(session.outcome() for session in sessions) == 20
    assert Run.objects.count() == ScheduleTick.objects.count() == 20


def test_a_schedule_that_another_worker_holds_is_passed_over() -> None:
    api.create_schedule("s", bodies.report, cron="0 * * * *", tz="UTC")
    _pass()
    begun, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            assert Schedule.objects.select_for_update().get() is not None
            begun.set()
            done.wait(30)

    session = Session(hold)
    assert begun.wait(30)
    assert ticks.make_due(bodies.NAMES) == 0
    done.set()
    session.outcome()
    assert ticks.make_due(bodies.NAMES) == 1


def test_a_run_that_a_long_transaction_holds_keeps_no_worker_waiting_and_is_cancelled_later() -> None:
    """The look that makes ticks also sends heartbeats: it must not wait for a transaction of the project."""
    api.create_schedule("s", bodies.digest, cron="0 * * * *", tz="UTC", overlap="cancel")
    _pass()
    ticks.make_due(bodies.NAMES)
    (run_id,) = active("s")
    with transition(run_id) as t:
        runs.start_run(t, None, "v1")
    _pass()
    begun, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            assert Run.objects.select_for_update().get(pk=run_id) is not None
            begun.set()
            done.wait(30)

    holder = Session(hold)
    assert begun.wait(30)
    look = Session(lambda: ticks.make_due(bodies.NAMES))
    assert look.outcome(20) == 1, "the look has not waited"
    assert Run.objects.get(pk=run_id).cancel_requested_at is None
    done.set()
    holder.outcome()
    _pass(0, seconds=2)
    ticks.make_due(bodies.NAMES)
    assert Run.objects.get(pk=run_id).cancel_requested_at is not None
    api.cancel_run(run_id, force=True)


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No room is left for runs of ``tests.report``."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON django_workflows_run FOR EACH ROW "
            "WHEN (NEW.workflow = 'tests.report') EXECUTE FUNCTION refuse()"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER IF EXISTS refuse ON django_workflows_run")
        cursor.execute("DROP FUNCTION refuse()")


def test_a_schedule_that_the_store_refuses_holds_up_no_other_and_loses_no_tick(
    full_disk: None, caplog: pytest.LogCaptureFixture
) -> None:
    for name, workflow in (("a", bodies.report), ("b", bodies.digest), ("c", bodies.report)):
        api.create_schedule(name, workflow, cron="0 * * * *", tz="UTC")
    _pass()
    assert ticks.make_due(bodies.NAMES) == 3
    assert (made("a"), made("b"), made("c")) == ([], ["19 13:00"], [])
    refused = Schedule.objects.get(name="a")
    assert refused.paused_at is None
    assert "no space is left" in caplog.text
    tries = []
    for _ in range(5):
        due = Schedule.objects.get(name="a").due_at
        assert due is not None
        tries.append((due - database.now()).total_seconds())
        clock.advance(due - database.now() + timedelta(milliseconds=1))
        ticks.make_due(bodies.NAMES)
    assert tries[-1] > 4 * tries[0], "it is tried more and more rarely"
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER refuse ON django_workflows_run")
    _pass(0, minutes=2)
    ticks.make_due(bodies.NAMES)
    eventually(lambda: made("a") == made("c") == ["19 13:00"], "the ticks are made up")
