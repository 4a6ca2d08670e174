"""The overview: figures from bounded queries, and what they say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_workflows.inspection import counts as estimates
from django_workflows.inspection import overview
from django_workflows.models import Worker
from django_workflows.values import clock
from tests.admin import histories
from tests.admin.histories import Story, ago

pytestmark = pytest.mark.django_db
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="estimates and plans are PostgreSQL's")


def test_counts_by_status_and_the_blocked_ones() -> None:
    histories.shop()
    found = overview.overview()
    assert {status: count.value for status, count in found.statuses.items()} == {
        "pending": 0,
        "running": 7,
        "completed": 2,
        "failed": 1,
        "cancelled": 0,
    }
    assert [run.workflow for run in found.blocked] == ["shop.workflows.subscribe"]
    assert [run.error_code for run in found.failed] == ["user_error"]


@on_postgresql
def test_large_counts_are_estimates_and_look_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "EXACT", 3)
    for number in range(6):
        Story("shop.a", number).start().end()
    Story("shop.a").start()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE django_workflows_run")
    counts = estimates.count_by_status(["completed", "running"])
    assert (counts["completed"].value, counts["completed"].exact) == (6, False)
    assert (counts["running"].value, counts["running"].exact) == (1, True)
    assert str(estimates.Count(123_456, exact=False)) == "≈ 120,000"
    assert str(counts["running"]) == "1"


def test_runs_over_time_by_status(monkeypatch: pytest.MonkeyPatch) -> None:
    with ago(hours=30):
        Story("shop.old").start().end()
    with ago(hours=12.2):
        Story("shop.a").start().end()
        Story("shop.a").start().fail(ValueError("x"))
    Story("shop.b")
    found = overview.recent(clock.now())
    assert found.total == 3
    filled = [(place, bucket.counts) for place, bucket in enumerate(found.buckets) if bucket.total]
    assert [counts for _, counts in filled] == [{"completed": 1, "failed": 1}, {"pending": 1}]
    assert filled[1][0] - filled[0][0] in (23, 24)
    assert [(share.name, share.total, share.failed) for share in found.workflows] == [
        ("shop.a", 2, 0.5),
        ("shop.b", 1, 0.0),
    ]


def test_a_busy_site_is_looked_at_through_its_newest_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "NEWEST", 4)
    with ago(minutes=10):
        for number in range(6):
            Story("shop.a", number)
            clock.advance(timedelta(seconds=30))
    found = overview.recent(clock.now())
    assert (found.total, found.cut) == (4, True)
    assert found.since > clock.now() - timedelta(minutes=10)


def test_queues_with_what_is_due_and_their_workers() -> None:
    histories.worker("web-1", 1, queues=["default"])
    with ago(minutes=5):
        Story("shop.a")
        Story("shop.b", queue="slow")
        Story("shop.c").start().create("step:x:1", "shop.x")
    found = {queue.name: queue for queue in overview.overview().queues}
    assert (found["default"].due, found["default"].steps, found["default"].workers) == (1, 1, 1)
    assert (found["slow"].due, found["slow"].workers) == (1, 0)
    assert found["slow"].oldest_due is not None


def test_a_worker_is_alive_late_or_dead_by_its_heartbeat() -> None:
    now = clock.now()
    for pid, silent in ((1, 2), (2, 20), (3, 300)):
        histories.worker("web", pid, heartbeat_at=now - timedelta(seconds=silent))
    histories.worker("web", 4, stopped_at=now)
    assert [(state.worker.pid, state.state) for state in overview.worker_states(now)] == [
        (1, "alive"),
        (2, "late"),
        (3, "dead"),
    ]


def test_slow_and_failing_steps() -> None:
    with ago(minutes=30):
        for number in range(4):
            Story("shop.a", number).start().step("step:fast:1", "shop.fast", took=0.1).end()
        slow = Story("shop.a").start().step("step:slow:1", "shop.slow", took=30).end()
        bad = Story("shop.a").start().create("step:slow:1", "shop.slow").begin("step:slow:1")
        bad.fail_step("step:slow:1", ValueError("x"), after=1).fail(ValueError("x"))
    shares, looked_at = overview.slow_steps(clock.now())
    assert looked_at == 6
    assert [(share.name, share.count, share.failed) for share in shares] == [("shop.slow", 2, 1), ("shop.fast", 4, 0)]
    assert shares[0].slowest_run == slow.id
    assert shares[0].slowest == pytest.approx(30, abs=1)


def test_the_page_says_when_no_worker_is_alive(viewer: User) -> None:
    client = Client()
    client.force_login(viewer)
    with ago(minutes=5):
        Story("shop.b", queue="slow")
    text = client.get(reverse("admin:django_workflows_overview")).content.decode()
    assert "No worker is alive" in text
    assert "no worker serves it" in text
    histories.worker()
    assert "No worker is alive" not in client.get(reverse("admin:django_workflows_overview")).content.decode()


def test_an_empty_site_has_an_overview_too(viewer: User) -> None:
    client = Client()
    client.force_login(viewer)
    assert client.get(reverse("admin:django_workflows_overview")).status_code == 200


@on_postgresql
def test_every_statement_is_bounded(viewer: User) -> None:
    histories.shop()
    with CaptureQueriesContext(connection) as queries:
        overview.overview()
    assert len(queries) <= 20
    for query in queries.captured_queries:
        sql = query["sql"]
        grouped_over_an_index = "GROUP BY" in sql and ("wake_at" in sql or "'pending'" in sql or "'running'" in sql)
        since_the_edge = '"created_at" >=' in sql  # of the newest, which an OFFSET in an index has found
        assert "LIMIT" in sql or grouped_over_an_index or since_the_edge or "pg_class" in sql, sql


def test_without_time_zones(settings: Any) -> None:
    settings.USE_TZ = False
    histories.shop()
    assert overview.overview().recent.total == 10


def _plan(sql: str, parameters: Any = None) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {sql}", parameters)
        return "\n".join(row[0] for row in cursor.fetchall())


@on_postgresql
@pytest.mark.parametrize(
    ("conditions", "index"),
    [
        ({}, "workflows_run_newest"),
        ({"status": "failed"}, "workflows_run_by_status"),
        ({"workflow": "shop.a"}, "workflows_run_by_workflow"),
        ({"blocked_until__isnull": False}, "workflows_run_blocked"),
    ],
)
def test_the_list_and_its_filters_use_their_index(conditions: dict[str, Any], index: str) -> None:
    from django_workflows.models import Run

    Worker.objects.all().delete()
    rows = Run.objects.filter(**conditions).order_by("-created_at", "-id")[:51]
    sql, parameters = rows.query.sql_with_params()
    assert index in _plan(sql, parameters)
