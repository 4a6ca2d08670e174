"""The two writers give the same rows, and the fence holds in both."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from django_workflows.eventlog.commands import FailRun
from django_workflows.exceptions import FenceConflictError
from django_workflows.models import Event, Hook, Outbox, Run, Step, Wait
from django_workflows.serialization import Encoded, dumps
from django_workflows.services import attributes, creation, hooks, runs, steps, waits
from django_workflows.store import database, locking, write_orm, write_sql
from django_workflows.values import ids
from tests.support.runs import add_hook, add_step, add_wait, end, new_run, transition

pytestmark = pytest.mark.django_db(transaction=True)

FAST = write_sql.write  # it is replaced below
START = datetime(2031, 5, 17, 12, 0, 0, 123456, tzinfo=UTC)
ERROR = Encoded(dumps({"type": "ValueError", "message": "n\u00f8", "args": [], "traceback": "", "cause": None}))


def _steps(run_id: str) -> None:
    with transition(run_id) as t:
        runs.start_run(t, "wrkr_1", "v1")
        first, second = add_step(t, 1), add_step(t, 2)
        steps.start_step(t, first, "wrkr_1")
        add_step(t, 3)
        add_step(t, 4)
        assert second.attempt == 0
    with transition(run_id) as t:
        steps.complete_step(t, t.entities.steps["step:work:1"], Encoded('{"a":"\\u0000 \\ud800 \\" \\\\"}'))
        steps.start_step(t, t.entities.steps["step:work:2"], "wrkr_2")
        steps.cancel_step(t, t.entities.steps["step:work:3"], "step:work:3")
    with transition(run_id) as t:
        steps.retry_step(t, t.entities.steps["step:work:2"], ERROR, t.now + timedelta(seconds=3))
    with transition(run_id) as t:
        steps.start_step(t, t.entities.steps["step:work:2"], "wrkr_3")
        steps.start_step(t, t.entities.steps["step:work:4"], "wrkr_3")
    with transition(run_id) as t:
        steps.lose_step(t, t.entities.steps["step:work:2"])
        steps.fail_step(t, t.entities.steps["step:work:4"], ERROR)


def _waits(run_id: str) -> None:
    with transition(run_id) as t:
        runs.start_run(t, None, "v1")
        for number, seconds in ((1, 10), (2, 20), (3, 30)):
            add_wait(t, number, seconds)
        waits.cancel_wait(t, "wait:3")
    with transition(run_id) as t:
        waits.complete_wait(t, t.entities.waits["wait:1"])
        runs.set_wake(t, undelivered=False)


def _hooks(run_id: str) -> None:
    with transition(run_id) as t:
        add_hook(t, f"token-{run_id}", 1)
        add_hook(t, f"other-{run_id}", 2)
        add_hook(t, f"token-{run_id}", 3)
        hooks.dispose_hook(t, "hook:2")
    with transition(run_id) as t:
        hooks.receive_hook(t, f"token-{run_id}", Encoded('{"x":1}'), idempotency_key="k-1")


def _ended(run_id: str) -> None:
    _steps(run_id)
    with transition(run_id) as t:
        add_wait(t)
        add_hook(t, f"token-{run_id}")
        attributes.set_attributes(t, {"customer": 'c"1', "gone": "x"}, "attributes:1")
        attributes.set_attributes(t, {"gone": None}, "attributes:2")
        end(t, {"said": "bye"})


def _failed(run_id: str) -> None:
    with transition(run_id) as t:
        runs.start_run(t, "wrkr_1", "v1")
        runs.end_run(t, FailRun("", error=ERROR, error_code="user_error"))


def _cancelled(run_id: str) -> None:
    with transition(run_id) as t:
        runs.request_cancel(t, "because", force=False)
    with transition(run_id) as t:
        runs.request_cancel(t, None, force=True)


def _timed_out(run_id: str) -> None:
    with transition(run_id) as t:
        t.run.deadline_at = t.now
        runs.time_out_run(t)
        t.now += timedelta(hours=1)
        assert runs.end_overdue_run(t)


def _blocked(run_id: str) -> None:
    with transition(run_id) as t:
        runs.start_run(t, None, "v1")
        runs.block_run(t, "does not fit", "v2")
    with transition(run_id) as t:
        runs.clear_block(t)
        runs.block_run(t, "nor does this", "v3")


SCENARIOS: list[Callable[[str], None]] = [_steps, _waits, _hooks, _ended, _failed, _cancelled, _timed_out, _blocked]


@pytest.fixture
def repeatable(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Ids and times that are the same each time after calling it."""
    numbers = itertools.count()

    def again() -> None:
        nonlocal numbers
        numbers = itertools.count()

    def named(kind: str) -> Callable[[], str]:
        return lambda: f"{kind}_{next(numbers):06}"

    monkeypatch.setattr(steps, "step_id", named("step"))
    monkeypatch.setattr(waits, "wait_id", named("wait"))
    monkeypatch.setattr(hooks, "hook_id", named("hook"))

    def now() -> datetime:
        return START + timedelta(seconds=next(numbers))

    monkeypatch.setattr(database, "now", now)
    monkeypatch.setattr(database, "sql_now", lambda *_: f"'{now().isoformat()}'::timestamptz")
    return again


def _rows() -> dict[str, list[dict[str, Any]]]:
    found = {}
    for model in (Run, Event, Step, Wait, Hook, Outbox):
        rows = list(model._default_manager.order_by("pk").values())
        for row in rows:
            if model is not Run:
                row.pop("id") if model is Outbox else None
        found[model.__name__] = rows
    return found


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__.strip("_"))
def test_both_writers_store_the_same_rows(
    scenario: Callable[[str], None], repeatable: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = []
    for write, insert, few in (
        (write_orm.write, creation._insert_orm, 0),
        (FAST, creation._insert_sql, write_sql._FEW),  # one value per parameter, where the rows are few
        (FAST, creation._insert_sql, -1),  # arrays, always
    ):
        monkeypatch.setattr(write_sql, "_FEW", few)
        repeatable()
        monkeypatch.setattr(write_sql, "write", lambda transitions, _execute, write=write: write(transitions))
        monkeypatch.setattr(creation, "_insert_sql", insert)
        parent = new_run(id="wrun_parent", seed="s")
        new_run(id="wrun_1", seed="seed", parent_id=parent, parent_correlation_id="child:1", timeout=timedelta(hours=2))
        scenario("wrun_1")
        stored.append(_rows())
        with transaction.atomic():
            for model in (Outbox, Event, Step, Wait, Hook):
                model._default_manager.all().delete()
            Run.objects.exclude(parent=None).delete()
            Run.objects.all().delete()
    assert stored[0] == stored[1]
    assert stored[0] == stored[2]
    assert len(stored[0]["Event"]) > 2


@pytest.mark.parametrize("write", [write_orm.write, write_sql.write], ids=["plain", "fast"])
def test_a_transition_on_an_old_snapshot_writes_nothing(write: Callable[[Any], None]) -> None:
    run_id = new_run()
    with transaction.atomic():
        stale = locking.lock_whole_run(run_id)
    with transition(run_id) as t:
        runs.start_run(t, None, "v1")
    add_step(stale)
    with pytest.raises(FenceConflictError) as caught, transaction.atomic():
        write([stale])
    assert caught.value.code == "fence_conflict"
    assert not Step.objects.filter(run_id=run_id).exists()
    assert list(Event.objects.filter(run_id=run_id).order_by("sequence").values_list("type", flat=True)) == [
        "run_created",
        "run_started",
    ]


def test_one_stale_run_in_a_batch_behind_the_fence_gets_nothing_and_the_others_everything() -> None:
    fresh, behind = new_run(), new_run()
    with transaction.atomic():
        pair = [locking.lock_whole_run(fresh), locking.lock_whole_run(behind)]
    with transition(behind) as t:
        runs.start_run(t, None, "v1")
    for snapshot in pair:
        add_step(snapshot)
        add_wait(snapshot)

    def execute(text: str, values: Any) -> Any:
        with database.connection().cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall()

    assert write_sql.write_fenced(pair, execute) == {fresh}
    assert set(Step.objects.values_list("run_id", flat=True)) == {fresh}
    assert set(Wait.objects.values_list("run_id", flat=True)) == {fresh}
    assert Event.objects.filter(run_id=behind).count() == 2


def test_a_transition_needs_the_transaction_of_its_caller() -> None:
    run_id = new_run()
    with pytest.raises(transaction.TransactionManagementError):
        locking.lock_run(run_id)
    assert ids.run_id()
