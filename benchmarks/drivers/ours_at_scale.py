"""Filling the tables with a million runs, and the queries that must not take longer then."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Model

from benchmarks import workflows as w
from benchmarks.drivers import django_ready  # noqa: F401 - before what imports models
from benchmarks.drivers.protocol import times, wait_for
from django_workflows import HookNotFoundError
from django_workflows.api import get_hook_by_token, get_run
from django_workflows.authoring.registry import find_workflow
from django_workflows.engine import Execution
from django_workflows.models import Event, Run, Wait
from django_workflows.store.event_log import read_many

LATER = timedelta(days=30)


def fill(finished: int, sleeping: int) -> dict[str, float]:
    """Copy one finished and one sleeping run, with all their events and waits, so many times; then ANALYZE."""
    done = w.sequence.start(0)
    done.result(timeout=30)
    asleep = w.sleeper.start(datetime.now(UTC) + LATER)
    wait_for(lambda: Wait.objects.filter(run_id=asleep.id).exists())
    _copy(done.id, "wrun_0", finished)
    _copy(asleep.id, "wrun_1", sleeping)
    with connection.cursor() as cursor:
        for model in (Run, Event, Wait):
            cursor.execute(f"VACUUM ANALYZE {model._meta.db_table}")
        cursor.execute("SELECT pg_database_size(current_database())")
        return {"mebibytes": cursor.fetchone()[0] / 1024 / 1024}


def _copy(run_id: str, prefix: str, count: int) -> None:
    identity = f"'{prefix}' || lpad(n::text, 25, '0')"
    changed: dict[type[Model], dict[str, str | None]] = {
        Run: {"id": identity, "created_at": "created_at - n * interval '1 second'", "idempotency_key": "NULL"},
        Event: {"id": None, "run_id": identity},
        Wait: {"id": "id || n", "run_id": identity},
    }
    with connection.cursor() as cursor:
        for model, new in changed.items():
            columns = [field.column for field in model._meta.concrete_fields if new.get(field.column, "") is not None]
            values = [new.get(column) or f'"{column}"' for column in columns]
            names = ", ".join(f'"{column}"' for column in columns)
            key = "id" if model is Run else "run_id"
            cursor.execute(
                f"INSERT INTO {model._meta.db_table} ({names}) SELECT {', '.join(values)}"
                f" FROM {model._meta.db_table} source, generate_series(1, %s) n WHERE source.{key} = %s",
                [count, run_id],
            )


def queries() -> dict[str, float]:
    """Median milliseconds of what doors and workers ask most."""
    questions: dict[str, Callable[[], Any]] = {
        "newest 50 runs": lambda: list(Run.objects.order_by("-created_at", "-id")[:50]),
        "newest 50 failed runs": lambda: list(Run.objects.filter(status="failed").order_by("-created_at")[:50]),
        "newest 50 of a workflow": lambda: list(
            Run.objects.filter(workflow=w.sequence.name).order_by("-created_at", "-id")[:50]
        ),
        "runs with an attribute": lambda: list(Run.objects.filter(attributes__contains={"customer": "nobody"})[:50]),
        "due runs": lambda: list(Run.objects.due()[:50]),
        "hook by token": _hook,
        "admin list": admin_list(),
    }
    return {name: statistics.median(times(question, 15, 3)) for name, question in questions.items()}


def _hook() -> None:
    try:
        get_hook_by_token("nobody has this token")
    except HookNotFoundError:
        return


def admin_list() -> Callable[[], None]:
    """The admin's list of runs, as a logged-in superuser's browser asks for it."""
    from django.contrib.auth import get_user_model
    from django.test import Client
    from django.urls import reverse

    user, _ = get_user_model().objects.get_or_create(username="admin", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(user)

    def ask() -> None:
        response = client.get(reverse("admin:django_workflows_run_changelist"))
        assert response.status_code == 200, response.status_code

    return ask


def cold_replay(steps: int) -> dict[str, float]:
    """Events per second of a log that no process has cached: through the engine alone, and including the read."""
    run = w.sequence.start(steps)
    run.result(timeout=120)
    workflow = find_workflow(w.sequence.name)
    assert workflow is not None
    get_run(run.id)

    def read() -> list[Any]:
        return read_many([(run.id, 0)], None)[run.id]

    log = read()

    def replay(log: list[Any]) -> None:
        execution = Execution(workflow, log[0], run_id=run.id)
        execution.replay(log)
        assert execution.finished
        execution.close()

    engine = statistics.median(times(lambda: replay(log), 5, 1)) / 1000
    whole = statistics.median(times(lambda: replay(read()), 5, 1)) / 1000
    return {"events": len(log), "engine_per_second": len(log) / engine, "whole_per_second": len(log) / whole}
