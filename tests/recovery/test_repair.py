"""Half-written states: each is made by hand, repaired from the log, and repaired once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_workflows import api
from django_workflows.models import Event, Hook, Outbox, Run, Step, Stream, StreamChunk, Wait
from django_workflows.recovery.repair import repair_run
from django_workflows.serialization import Encoded
from django_workflows.services import steps
from django_workflows.store import database
from django_workflows.store.transactions import in_transaction
from django_workflows.verify import verify_runs
from tests.support.runs import add_hook, add_step, add_wait, end, started_run, transition, types
from tests.support.sessions import race

pytestmark = pytest.mark.django_db(transaction=True)
repair = in_transaction(repair_run)


def _busy_run() -> str:
    run_id = started_run(attributes={"a": "b"})
    with transition(run_id) as t:
        for number in (1, 2, 3):
            add_step(t, number)
        steps.start_step(t, t.entities.steps["step:work:1"], "wrkr_1")
        steps.start_step(t, t.entities.steps["step:work:2"], "wrkr_1")
        add_wait(t, 1)
        add_hook(t, "token", 1)
    with transition(run_id) as t:
        steps.complete_step(t, t.entities.steps["step:work:1"], Encoded('{"x":[1,2]}'))
    return run_id


def _picture(run_id: str) -> dict[str, Any]:
    """Everything about the run except ids that the log does not hold, and its next wake."""
    found: dict[str, Any] = {}
    for model in (Step, Wait, Hook):
        rows = model._default_manager.filter(run_id=run_id).order_by("correlation_id").values()
        unlogged = ("id", "options", "created_at") if model is Hook else ("id",)
        found[model.__name__] = [{k: v for k, v in row.items() if k not in unlogged} for row in rows]
    found["Run"] = [{k: v for k, v in row.items() if k != "wake_at"} for row in Run.objects.filter(pk=run_id).values()]
    found["events"] = types(run_id)
    return found


def _gone(model: Any, **which: Any) -> Callable[[str], None]:
    return lambda run_id: model.objects.filter(run_id=run_id, **which).delete() and None


def _changed(model: Any, which: dict[str, Any], **columns: Any) -> Callable[[str], None]:
    return lambda run_id: (
        model.objects.filter(**({"pk": run_id} if model is Run else {"run_id": run_id}), **which).update(**columns)
        and None
    )


def _orphan_step(run_id: str) -> None:
    step = Step.objects.get(run_id=run_id, correlation_id="step:work:3")
    step.pk, step.correlation_id = "step_orphan", "step:work:9"
    step.save(force_insert=True)


DAMAGE: dict[str, Callable[[str], None]] = {
    "an event of a pending step without its row": _gone(Step, correlation_id="step:work:3"),
    "an event of a completed step without its row": _gone(Step, correlation_id="step:work:1"),
    "an event of a wait without its row": _gone(Wait),
    "a hook swallowed": _gone(Hook),
    "a token without its hook": _changed(Hook, {}, disposed_at="2026-01-01T00:00:00Z"),
    "a step without its event": _orphan_step,
    "a step that says it still runs": _changed(
        Step, {"correlation_id": "step:work:1"}, status="running", completed_at=None, output=None
    ),
    "a wait that says it is over": _changed(Wait, {}, status="completed", completed_at="2026-01-01T00:00:00Z"),
    "a log longer than its run knows": _changed(Run, {}, last_sequence=3),
    "a log shorter than its run says": _changed(Run, {}, last_sequence=99),
    "a run that says it has not begun": _changed(Run, {}, status="pending", started_at=None),
    "a run that says it has ended": _changed(Run, {}, status="completed", completed_at="2026-01-01T00:00:00Z"),
    "attributes of another time": _changed(Run, {}, attributes={"z": "1"}),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_it_is_put_right_from_the_log(what: str) -> None:
    run_id = _busy_run()
    before = _picture(run_id)
    DAMAGE[what](run_id)
    assert _picture(run_id) != before
    assert repair(run_id)
    assert _picture(run_id) == before
    assert repair(run_id) == []
    assert not [v for v in verify_runs([run_id]) if v.rule not in (7, 8)]


@pytest.mark.parametrize("what", DAMAGE)
def test_two_repairs_at_once_repair_once(what: str) -> None:
    run_id = _busy_run()
    before = _picture(run_id)
    DAMAGE[what](run_id)
    said = race(lambda: repair(run_id), lambda: repair(run_id))
    assert sorted(map(bool, said)) == [False, True], said
    assert _picture(run_id) == before


def test_a_sound_run_is_left_alone() -> None:
    run_id = _busy_run()
    assert repair(run_id) == []
    with transition(run_id) as t:
        end(t)
    before = _picture(run_id)
    assert repair(run_id) == []
    assert _picture(run_id) == before


def test_a_run_without_run_created_gets_it_from_its_row() -> None:
    run_id = started_run()
    original = Event.objects.get(run_id=run_id, sequence=1).payload
    Event.objects.filter(run_id=run_id).delete()
    assert repair(run_id)
    event = Event.objects.get(run_id=run_id)
    assert (event.sequence, event.payload) == (1, original)
    assert Run.objects.get(pk=run_id).status == "pending"
    assert Run.objects.due().filter(pk=run_id).exists()


@pytest.mark.tampers
def test_a_token_that_another_run_has_taken_meanwhile_stays_with_it() -> None:
    run_id, other = _busy_run(), started_run()
    Hook.objects.filter(run_id=run_id).delete()
    with transition(other) as t:
        add_hook(t, "token", 1)
    row = Hook.objects.filter(run_id=other).values().get()
    assert any(other in said for said in repair(run_id))
    assert Hook.objects.filter(run_id=other).values().get() == row
    assert api.resume_hook("token", 1).run_id == other


@pytest.mark.tampers
def test_an_ended_run_holds_no_token_even_if_its_hook_says_so() -> None:
    """A row that a hook's former owner left behind does not bar the next one: the next call clears it."""
    run_id, other = _busy_run(), started_run()
    with transition(run_id) as t:
        end(t)
    Hook.objects.filter(run_id=run_id).update(disposed_at=None)
    with transition(other) as t:
        add_hook(t, "token", 1)
    assert types(other)[-1] == "hook_created"
    assert Hook.objects.active().get().run_id == other


def test_a_hook_row_without_its_event_does_not_bar_its_own_creation() -> None:
    run_id = started_run()
    Hook.objects.create(id="hook_x", run_id=run_id, correlation_id="hook:1", token="token", created_at=database.now())
    with transition(run_id) as t:
        add_hook(t, "token", 1)
    assert types(run_id)[-1] == "hook_created"
    assert Hook.objects.filter(run_id=run_id).count() == 1


def test_a_parent_that_was_never_notified_is_notified() -> None:
    parent, child = started_run(), started_run()
    from django_workflows.eventlog import events
    from django_workflows.store.event_log import append

    with transition(parent) as t:
        append(t, events.ChildStarted("tests.by_hand", child, [], {}), "child:1")
    Run.objects.filter(pk=child).update(parent_id=parent, parent_correlation_id="child:1")
    with transition(child) as t:
        end(t, 7)
    Outbox.objects.all().delete()
    assert repair(parent)
    assert Outbox.objects.get().target == parent
    assert repair(parent) == []


def test_a_child_that_the_log_started_and_that_does_not_exist_is_started() -> None:
    from django_workflows.eventlog import events
    from django_workflows.store.event_log import append

    parent = started_run()
    with transition(parent) as t:
        append(t, events.ChildStarted("tests.by_hand", "wrun_lost", [1], {"k": "v"}), "child:1")
    assert repair(parent)
    child = Run.objects.get(pk="wrun_lost")
    assert (child.parent_id, child.input) == (parent, {"args": [1], "kwargs": {"k": "v"}})
    assert repair(parent) == []


@pytest.mark.tampers
def test_a_stream_never_gives_a_number_twice() -> None:
    run_id = started_run()
    Stream.objects.create(run_id=run_id, name="s", next_index=0, created_at=database.now())
    StreamChunk.objects.create(run_id=run_id, stream="s", index=4, data="1", created_at=database.now())
    assert repair(run_id)
    assert Stream.objects.get().next_index == 5


def test_the_doctor_repairs_what_the_validator_finds(capsys: pytest.CaptureFixture[str]) -> None:
    from django.core.management import call_command

    run_id = _busy_run()
    before = _picture(run_id)
    DAMAGE["an event of a completed step without its row"](run_id)
    DAMAGE["a log longer than its run knows"](run_id)
    try:
        call_command("workflows", "doctor", "--repair")
    except SystemExit:  # no worker runs here, which it reports as well
        pass
    assert "step:work:1 had an event and no row" in capsys.readouterr().out
    assert _picture(run_id) == before
