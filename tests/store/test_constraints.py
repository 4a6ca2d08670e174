"""Each constraint, proven by writing around the service layer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import CheckConstraint, UniqueConstraint
from django.db.models.functions import Now

from django_workflows import models
from django_workflows.eventlog.events import CHILD_TERMINALS, CREATIONS, RUN_TERMINALS, STEP_TERMINALS, WAIT_TERMINALS
from django_workflows.models import Event, Hook, Run, Schedule, ScheduleTick, Step, Stream, StreamChunk, Wait
from tests.support.runs import UNKNOWN, started_run

pytestmark = pytest.mark.django_db(transaction=True)


def _event(run_id: str, sequence: int, type: str = "step_started", correlation_id: str = "x", **more: Any) -> None:
    Event.objects.create(
        run_id=run_id, sequence=sequence, type=type, correlation_id=correlation_id, data="{}", created_at=Now(), **more
    )


def _step(run_id: str, id: str, correlation_id: str = "step:1", **more: Any) -> None:
    given = {"status": "pending", "input": None, "queue": "q", "available_at": Now(), "created_at": Now(), **more}
    given["input"] = {"args": [], "kwargs": {}}
    Step.objects.create(id=id, run_id=run_id, correlation_id=correlation_id, name="n", **given)


def _wait(run_id: str, id: str, correlation_id: str = "wait:1", status: str = "waiting", **more: Any) -> None:
    Wait.objects.create(
        id=id, run_id=run_id, correlation_id=correlation_id, status=status, due_at=Now(), created_at=Now(), **more
    )


def _hook(run_id: str, id: str, correlation_id: str, token: str) -> None:
    Hook.objects.create(id=id, run_id=run_id, correlation_id=correlation_id, token=token, created_at=Now())


def _run(id: str, **more: Any) -> None:
    given: dict[str, Any] = {"workflow": UNKNOWN, "queue": "q", "status": "running", "input": {}, "seed": "s"}
    Run.objects.create(id=id, **{**given, **more}, created_at=Now(), last_event_at=Now())


def _twice(write: Callable[[], object], again: Callable[[], object]) -> None:
    write()
    again()


def _pairs(types: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(first, second) for first in types for second in types]


def _schedule(name: str) -> Schedule:
    given = {"workflow": UNKNOWN, "spec": {}, "tz": "UTC", "input": {}, "options": {}, "overlap": "skip"}
    return Schedule.objects.create(name=name, catchup="latest", created_at=Now(), **given)


def _two_ticks(run_id: str) -> None:
    schedule, at = _schedule("s"), datetime(2026, 1, 1, tzinfo=UTC)
    for _ in range(2):
        ScheduleTick.objects.create(schedule=schedule, at=at, created_at=Now())


VIOLATIONS: dict[str, list[Callable[[str], None]]] = {
    "workflows_tick_once": [_two_ticks],
    "workflows_run_status": [
        lambda run: _run("wrun_x", status="sleeping"),
        lambda run: _run("wrun_x", status="completed"),
        lambda run: _run("wrun_x", status="running", completed_at=Now()),
    ],
    "workflows_run_idempotency_key": [
        lambda run: _twice(lambda: _run("wrun_x", idempotency_key="k"), lambda: _run("wrun_y", idempotency_key="k"))
    ],
    "workflows_step_correlation": [lambda run: _twice(lambda: _step(run, "s1"), lambda: _step(run, "s2"))],
    "workflows_step_status": [
        lambda run: _step(run, "s1", status="paused", completed_at=Now()),
        lambda run: _step(run, "s1", status="completed"),
    ],
    "workflows_hook_active_token": [
        lambda run: _twice(lambda: _hook(run, "h1", "hook:1", "t"), lambda: _hook(run, "h2", "hook:2", "t"))
    ],
    "workflows_hook_correlation": [
        lambda run: _twice(lambda: _hook(run, "h1", "hook:1", "t"), lambda: _hook(run, "h2", "hook:1", "u"))
    ],
    "workflows_wait_correlation": [lambda run: _twice(lambda: _wait(run, "w1"), lambda: _wait(run, "w2"))],
    "workflows_wait_status": [lambda run: _wait(run, "w1", status="asleep")],
    "workflows_event_sequence_from_1": [lambda run: _event(run, 0)],
    "workflows_event_creation": [
        lambda run, first=first, second=second: _twice(  # type: ignore[misc]
            lambda: _event(run, 3, first), lambda: _event(run, 4, second)
        )
        for first, second in [*[(t, t) for t in CREATIONS], ("hook_created", "hook_conflict")]
    ],
    "workflows_event_terminal": [
        lambda run, first=first, second=second: _twice(  # type: ignore[misc]
            lambda: _event(run, 3, first), lambda: _event(run, 4, second)
        )
        for first, second in [*_pairs(STEP_TERMINALS), *_pairs(WAIT_TERMINALS), *_pairs(CHILD_TERMINALS)]
    ],
    "workflows_event_run_terminal": [
        lambda run, first=first, second=second: _twice(  # type: ignore[misc]
            lambda: _event(run, 3, first, ""), lambda: _event(run, 4, second, "")
        )
        for first, second in _pairs(RUN_TERMINALS)
    ],
    "workflows_event_idempotency_key": [
        lambda run: _twice(
            lambda: _event(run, 3, "hook_received", "hook:1", idempotency_key="k"),
            lambda: _event(run, 4, "hook_received", "hook:1", idempotency_key="k"),
        )
    ],
    "workflows_stream_name": [
        lambda run: _twice(
            lambda: Stream.objects.create(run_id=run, name="s", created_at=Now()),
            lambda: Stream.objects.create(run_id=run, name="s", created_at=Now()),
        )
    ],
    "workflows_chunk_index": [
        lambda run: _twice(
            lambda: StreamChunk.objects.create(run_id=run, stream="s", index=0, data="1", created_at=Now()),
            lambda: StreamChunk.objects.create(run_id=run, stream="s", index=0, data="2", created_at=Now()),
        )
    ],
}

CASES = [(name, number) for name, cases in VIOLATIONS.items() for number in range(len(cases))]


@pytest.mark.parametrize(("name", "number"), CASES)
def test_the_database_refuses(name: str, number: int) -> None:
    run_id = started_run()
    with pytest.raises(IntegrityError, match=name), transaction.atomic():
        VIOLATIONS[name][number](run_id)


def test_every_constraint_of_every_table_has_a_case() -> None:
    declared = {
        constraint.name
        for model in vars(models).values()
        if isinstance(model, type) and hasattr(model, "_meta") and model.__module__ == models.__name__
        for constraint in model._meta.constraints
        if isinstance(constraint, UniqueConstraint | CheckConstraint)
    }
    assert declared == set(VIOLATIONS)


def test_an_events_place_in_the_log_is_its_key_and_is_never_taken_twice() -> None:
    run_id = started_run()
    _event(run_id, 3)
    again = Event(run_id=run_id, sequence=3, type="step_retrying", data="{}", created_at=Now())
    with pytest.raises(IntegrityError, match="django_workflows_event_pkey"), transaction.atomic():
        again.save()
    assert Event.objects.get(run_id=run_id, sequence=3).type != "step_retrying"


def test_a_second_life_may_end_like_the_first() -> None:
    run_id = started_run()
    _event(run_id, 3, "run_failed", "")
    _event(run_id, 4, "run_retried", "", life=1)
    _event(run_id, 5, "run_failed", "", life=1)
    assert Event.objects.filter(run_id=run_id, type="run_failed").count() == 2


def test_an_event_belongs_to_a_run_that_exists() -> None:
    def write() -> None:
        with transaction.atomic():
            _event("wrun_none", 1)
            connection.check_constraints()

    with pytest.raises(IntegrityError, match="run_id"):
        write()
