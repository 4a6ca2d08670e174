"""A tick makes a run once, at its time, and says why when it makes none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from django_workflows import api
from django_workflows.models import Event, Run, Schedule, ScheduleTick
from django_workflows.schedules import ticks, timing
from django_workflows.store import database
from django_workflows.values import clock

from . import bodies
from .conftest import START, active, end, made, skipped

Until = Callable[[datetime | str], int]
HOUR = timedelta(hours=1)


def test_a_tick_is_a_run_that_carries_the_schedule_and_the_instant(until: Until) -> None:
    schedule = api.create_schedule(
        "daily", bodies.report, cron="0 9 * * *", tz="Europe/Berlin", kwargs={"kind": "long"}
    )
    assert schedule.next_at == datetime(2026, 10, 20, 7, tzinfo=UTC)
    assert until("2026-10-20T06:59:59+00:00") == 0
    assert until("2026-10-20T07:00:00+00:00") == 1

    run = Run.objects.get()
    assert run.workflow == "tests.report"
    assert run.input == {"args": [], "kwargs": {"kind": "long"}}
    assert run.attributes["schedule"] == "daily"
    assert run.idempotency_key == "schedule:daily:2026-10-20T07:00:00+00:00"
    assert Event.objects.get(run=run).payload["scheduled_at"] == datetime(2026, 10, 20, 7, tzinfo=UTC)
    row = schedule.row
    assert (row.last_at, row.last_run_id) == (datetime(2026, 10, 20, 7, tzinfo=UTC), run.pk)
    assert row.next_at == datetime(2026, 10, 21, 7, tzinfo=UTC)
    assert until("2026-10-20T07:00:01+00:00") == 0


def test_what_is_rolled_back_has_not_happened(until: Until) -> None:
    api.create_schedule("hourly", bodies.report, cron="0 * * * *", tz="UTC")
    with transaction.atomic():
        assert until(START + HOUR) == 1
        transaction.set_rollback(True)
    assert not Run.objects.exists()
    assert until(START + HOUR + timedelta(seconds=1)) == 1
    assert made("hourly") == ["19 13:00"]


def test_a_schedule_joins_the_transaction_of_its_caller(until: Until) -> None:
    with transaction.atomic():
        api.create_schedule("gone", bodies.report, cron="0 * * * *", tz="UTC")
        transaction.set_rollback(True)
    assert not Schedule.objects.exists()


def test_of_a_workflow_that_is_unknown_here_the_tick_is_left_to_a_worker_that_knows_it() -> None:
    api.create_schedule("hourly", bodies.report, cron="0 * * * *", tz="UTC")
    clock.advance(HOUR)
    assert ticks.make_due(["tests.other"]) == 0
    assert ticks.make_due(bodies.NAMES) == 1


def test_one_schedule_that_cannot_be_served_is_paused_and_the_others_go_on(until: Until) -> None:
    for name in ("a", "b", "c"):
        api.create_schedule(name, bodies.report, cron="0 * * * *", tz="UTC")
    Schedule.objects.filter(name="b").update(tz="Mars/Olympus")
    assert until(START + HOUR) == 3
    assert (made("a"), made("b"), made("c")) == (["19 13:00"], [], ["19 13:00"])
    row = Schedule.objects.get(name="b")
    assert row.paused_by == "failure"
    assert "Mars/Olympus" in row.paused_reason


class TestOverlap:
    """The run of ``digest`` sleeps for a month: it counts as running."""

    def begin(self, until: Until, overlap: str) -> None:
        api.create_schedule("s", bodies.digest, cron="0 * * * *", tz="UTC", overlap=overlap)
        for hours in (1, 2, 3):
            until(START + hours * HOUR)

    def test_skip_says_which_run_was_in_the_way(self, until: Until) -> None:
        self.begin(until, "skip")
        (run_id,) = active("s")
        assert made("s") == ["19 13:00"]
        assert skipped("s") == [
            ("19 14:00", f"run {run_id} has not ended"),
            ("19 15:00", f"run {run_id} has not ended"),
        ]
        end(run_id)
        until(START + 4 * HOUR)
        assert made("s") == ["19 13:00", "19 16:00"]

    def test_queue_lets_one_wait(self, until: Until) -> None:
        self.begin(until, "queue")
        (run_id,) = active("s")
        assert [at for at, _ in skipped("s")] == ["19 15:00"]
        end(run_id)
        until(START + 3 * HOUR + timedelta(seconds=2))
        assert made("s") == ["19 13:00", "19 14:00"]

    def test_queue_all_lets_all_wait_and_makes_them_one_after_another(self, until: Until) -> None:
        self.begin(until, "queue_all")
        for seconds, expected in ((2, "19 14:00"), (4, "19 15:00")):
            (run_id,) = active("s")
            end(run_id)
            until(START + 3 * HOUR + timedelta(seconds=seconds))
            assert made("s")[-1] == expected
        assert skipped("s") == []

    def test_cancel_begins_when_the_cancelled_run_has_ended(self, until: Until) -> None:
        api.create_schedule("s", bodies.digest, cron="0 * * * *", tz="UTC", overlap="cancel")
        until(START + HOUR)
        (run_id,) = active("s")
        from django_workflows.services import runs
        from tests.support.runs import transition

        with transition(run_id) as t:
            runs.start_run(t, None, "v1")
        until(START + 2 * HOUR)
        assert Run.objects.get(pk=run_id).cancel_requested_at is not None
        assert active("s") == [run_id], "its cleanup has not ended"
        end(run_id)
        until(START + 2 * HOUR + timedelta(seconds=2))
        assert made("s") == ["19 13:00", "19 14:00"]

    def test_allow_makes_them_all(self, until: Until) -> None:
        self.begin(until, "allow")
        assert len(active("s")) == 3


class TestMissedTicks:
    def outage(self, until: Until, **given: object) -> None:
        api.create_schedule("s", bodies.report, cron="0 * * * *", tz="UTC", overlap="allow", **given)  # type: ignore[arg-type]
        until(START + 5 * HOUR + timedelta(minutes=30))

    def test_latest_makes_the_newest_one_up(self, until: Until) -> None:
        self.outage(until)
        assert made("s") == ["19 17:00"]
        assert [at for at, _ in skipped("s")] == ["19 13:00", "19 14:00", "19 15:00", "19 16:00"]

    def test_all_makes_each_of_them_oldest_first(self, until: Until) -> None:
        self.outage(until, catchup="all")
        assert made("s") == ["19 13:00", "19 14:00", "19 15:00", "19 16:00", "19 17:00"]
        assert skipped("s") == []

    def test_none_leaves_them_out(self, until: Until) -> None:
        self.outage(until, catchup="none")
        assert made("s") == []
        assert len(skipped("s")) == 5
        until(START + 6 * HOUR)
        assert made("s") == ["19 18:00"]

    def test_what_is_older_than_the_window_is_left_out(self, until: Until) -> None:
        self.outage(until, catchup="all", catchup_window="2h")
        assert made("s") == ["19 16:00", "19 17:00"]
        assert all("window" in why for _, why in skipped("s"))

    def test_all_passes_through_the_overlap(self, until: Until) -> None:
        api.create_schedule("s", bodies.digest, cron="0 * * * *", tz="UTC", catchup="all", overlap="queue_all")
        until(START + 3 * HOUR)
        assert made("s") == ["19 13:00"]
        assert ScheduleTick.objects.filter(open=True, run=None).count() == 2

    def test_a_long_outage_leaves_a_bounded_number_of_rows(self, until: Until) -> None:
        api.create_schedule("s", bodies.report, every="1m")
        until(START + 24 * HOUR)
        assert len(made("s")) == 1
        reasons = skipped("s")
        assert len(reasons) == 100
        assert "and 1339 more" in reasons[-1][1]

    def test_many_that_are_all_made_up_are_made_in_bounded_batches(self, until: Until) -> None:
        api.create_schedule("s", bodies.report, every="1m", catchup="all", overlap="allow")
        assert until(START + 4 * HOUR) == 1
        assert len(made("s")) == 100
        until(START + 4 * HOUR)
        until(START + 4 * HOUR)
        assert len(made("s")) == 240


class TestJitter:
    def test_is_a_function_of_name_and_instant(self) -> None:
        row = Schedule(name="s", jitter=120.0)
        instants = [START + n * HOUR for n in range(200)]
        late = [(timing.due_at(row, instant) - instant).total_seconds() for instant in instants]
        assert late == [(timing.due_at(row, instant) - instant).total_seconds() for instant in instants]
        assert 0 <= min(late) < 20
        assert 100 < max(late) < 120
        assert late != [(timing.due_at(Schedule(name="t", jitter=120.0), i) - i).total_seconds() for i in instants]

    def test_changes_neither_the_id_nor_the_time_of_the_tick(self, until: Until) -> None:
        api.create_schedule("s", bodies.report, cron="0 * * * *", tz="UTC", jitter="10m")
        until(START + HOUR + timedelta(minutes=10))
        assert Run.objects.get().idempotency_key == "schedule:s:2026-10-19T13:00:00+00:00"
        assert made("s") == ["19 13:00"]

    def test_an_edit_between_the_instant_and_its_jitter_loses_no_tick(self, until: Until) -> None:
        schedule = api.create_schedule("s", bodies.report, cron="0 * * * *", tz="UTC", jitter="10m", overlap="allow")
        until(START + HOUR)
        assert made("s") == []
        schedule.update(cron="30 * * * *", jitter=0)
        until(START + HOUR + timedelta(minutes=10))
        until(START + HOUR + timedelta(minutes=30))
        assert made("s") == ["19 13:00", "19 13:30"]


class TestPauses:
    def test_ticks_that_come_meanwhile_are_not_made_up(self, until: Until) -> None:
        schedule = api.create_schedule("s", bodies.report, cron="0 * * * *", tz="UTC", catchup="all", overlap="allow")
        schedule.pause(reason="moving house")
        assert until(START + 3 * HOUR + timedelta(minutes=5)) == 0
        assert schedule.paused_reason == "moving house"
        schedule.resume()
        until(START + 4 * HOUR)
        assert made("s") == ["19 16:00"]

    def test_a_failure_pauses_the_schedule_where_asked_until_it_is_resumed(self, until: Until) -> None:
        from django_workflows.serialization import encode_error
        from django_workflows.services import runs
        from tests.support.runs import transition

        schedule = api.create_schedule("s", bodies.report, every="1h", args=("broken",), pause_on_failure=True)
        until(START + HOUR)
        run_id = Run.objects.get().pk
        with transition(run_id) as t:
            runs.start_run(t, None, "v1")
            runs.fail_run(t, encode_error(ValueError("no")), "user_error")
        until(START + 2 * HOUR)
        assert schedule.paused_reason == f"run {run_id} failed"
        assert made("s") == ["19 13:00"]
        schedule.resume()
        until(START + 3 * HOUR)
        assert made("s") == ["19 13:00", "19 15:00"]


def test_a_trigger_makes_a_run_at_once_paused_or_not(until: Until) -> None:
    schedule = api.create_schedule("s", bodies.digest, cron="0 0 1 1 *", tz="UTC")
    schedule.pause()
    first, second = schedule.trigger(), schedule.trigger()
    assert first != second
    keys = set(Run.objects.values_list("idempotency_key", flat=True))
    assert len(keys) == 2
    assert all(key.startswith("schedule:s:trigger:") for key in keys)
    assert abs(Event.objects.filter(run_id=first.id).get().payload["scheduled_at"] - database.now()) < timedelta(
        seconds=5
    )


class TestBackfill:
    def test_makes_the_past_once(self, until: Until) -> None:
        schedule = api.create_schedule("s", bodies.report, cron="0 * * * *", tz="UTC")
        runs = schedule.backfill(START - 600 * HOUR, START)
        assert len(runs) == 600
        assert schedule.backfill(START - 600 * HOUR, START) == []
        assert schedule.row.last_run_id is None
        assert schedule.next_at == START + HOUR

    def test_makes_what_was_skipped(self, until: Until) -> None:
        schedule = api.create_schedule("s", bodies.report, cron="0 * * * *", tz="UTC")
        until(START + 3 * HOUR)
        assert made("s") == ["19 15:00"]
        schedule.backfill(START + HOUR, START + 3 * HOUR)
        assert made("s") == ["19 13:00", "19 14:00", "19 15:00"]
        assert skipped("s") == []

    def test_a_tick_that_a_backfill_has_made_is_not_made_again_by_a_worker(self, until: Until) -> None:
        schedule = api.create_schedule("s", bodies.report, cron="0 * * * *", tz="UTC")
        clock.advance(HOUR + timedelta(minutes=1))
        assert len(schedule.backfill(START + HOUR, database.now())) == 1
        assert ticks.make_due(bodies.NAMES) == 1
        assert made("s") == ["19 13:00"]
        assert Run.objects.count() == 1

    @pytest.mark.parametrize(
        ("since", "end"),
        [
            (START, START),
            (START, START - HOUR),
            (START, START + HOUR),
            (START.replace(tzinfo=None), START),
            (START - timedelta(days=365 * 30), START),
        ],
    )
    def test_a_span_that_is_none_says_so(self, since: datetime, end: datetime) -> None:
        schedule = api.create_schedule("s", bodies.report, cron="* * * * *")
        with pytest.raises(ValueError, match=r"backfill|naive|ticks"):
            schedule.backfill(since, end)
        assert not Run.objects.exists()
