"""Whatever makes rows of a log makes rows that the validator accepts: every shape of run, every writer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from django_workflows.models import Event, Hook, Run, Step, Wait
from django_workflows.recovery import export
from django_workflows.recovery.repair import repair_run
from django_workflows.serialization.columns import stored
from django_workflows.services import outbox
from django_workflows.store.transactions import in_transaction
from django_workflows.upkeep import erasure, retention
from django_workflows.verify import verify_runs
from tests.recovery import shapes

Shape = Callable[[], str]
every_shape = pytest.mark.parametrize("shape", [*shapes.ACTIVE, *shapes.ENDED], ids=lambda shape: shape.__name__)
every_ended_shape = pytest.mark.parametrize("shape", shapes.ENDED, ids=lambda shape: shape.__name__)


def violations() -> list[str]:
    """What the validator says of the rows; by hand, no worker ever advances these runs."""
    return [str(violation) for violation in verify_runs() if violation.rule != 8]


def rows(run_id: str) -> dict[str, list[dict[str, Any]]]:
    """Steps, waits and hooks, without what the log does not hold."""
    found = {}
    for model in (Step, Wait, Hook):
        unlogged = ("id", "options", "created_at") if model is Hook else ("id", "available_at")
        values = model._default_manager.filter(run_id=run_id).order_by("correlation_id").values()
        found[model.__name__] = [{key: value for key, value in row.items() if key not in unlogged} for row in values]
    return found


@every_shape
def test_its_verbs_obey(shape: Shape) -> None:
    shape()
    assert violations() == []


@every_shape
def test_repair_leaves_it_alone(shape: Shape) -> None:
    assert in_transaction(repair_run)(shape()) == []
    assert violations() == []


@every_shape
def test_repair_makes_its_rows_anew(shape: Shape) -> None:
    run_id = shape()
    before, run = rows(run_id), Run.objects.filter(pk=run_id).values().get()
    for model in (Step, Wait, Hook):
        model._default_manager.filter(run_id=run_id).delete()
    Run.objects.filter(pk=run_id).update(
        last_sequence=1, status="running", completed_at=None, output=None, error=None, error_code="", life=0
    )

    assert in_transaction(repair_run)(run_id)

    assert violations() == []
    assert rows(run_id) == before
    after = Run.objects.filter(pk=run_id).values().get()
    assert {**after, "wake_at": None} == {**run, "wake_at": None}


@every_shape
def test_import_stores_what_export_gave(shape: Shape) -> None:
    run_id = shape()
    before, run = rows(run_id), Run.objects.filter(pk=run_id).values().get()
    history = json.loads(export.write_line(export.export_run(run_id)))
    retention.remove_runs([run_id])
    assert not Event.objects.filter(run_id=run_id).exists()

    export.import_history(history, activate=True)

    assert violations() == []
    assert rows(run_id) == before
    after = Run.objects.filter(pk=run_id).values().get()
    assert {**after, "wake_at": None} == {**run, "wake_at": None}


@every_ended_shape
def test_erase_leaves_what_the_validator_accepts_and_nothing_else(shape: Shape) -> None:
    run_id = shape()
    outbox.flush_outbox()  # a run that has news to deliver is left alone
    assert run_id in erasure.erase(shapes.CUSTOMER).erased

    assert violations() == []
    left = [text for model in (Event, Run, Step, Hook) for text in texts(model, run_id)]
    for secret in (
        "no such card",
        "card-number",
        "Ms. One",
        "approval",
        "dollar",
        "a reason",
        "token-",
        "too late",
        "all done",
    ):
        assert not [text for text in left if secret in text]


def texts(model: Any, run_id: str) -> list[str]:
    """Everything that the rows of a run say, as it is stored."""
    names = {
        Event: ("data",),
        Run: ("input", "output", "error", "attributes"),
        Step: ("input", "output", "error"),
        Hook: ("token", "metadata", "options"),
    }[model]
    found = model._default_manager.filter(pk=run_id) if model is Run else model._default_manager.filter(run_id=run_id)
    values = found.annotate(**stored(*names)).values_list(*(f"raw_{name}" for name in names))
    return [str(text) for row in values for text in row if text is not None]


def test_erase_leaves_null_what_was_null() -> None:
    run_id = shapes.completed_with_nothing()
    erasure.erase(shapes.CUSTOMER)
    hook = Hook.objects.get(run_id=run_id)
    assert (hook.metadata, hook.options, hook.token) == (None, None, erasure.ERASED)


def test_erase_erases_what_no_event_of_this_version_declares() -> None:
    run_id = shapes.completed_with_nothing()
    row = Event.objects.get(run_id=run_id, sequence=2)
    Event.objects.filter(pk=row.pk).update(data='{"worker":null,"code_version":"v1","said":"secret"}')
    erasure.erase(shapes.CUSTOMER)
    assert json.loads(Event.objects.get(run_id=run_id, sequence=2).data) == {
        "worker": None,
        "code_version": "v1",
        "said": erasure.ERASED,
    }
