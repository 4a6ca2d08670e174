"""Models of a project refer to runs: pruning honours their ``on_delete``, and one run that must stay stops no other."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from django_workflows.api import upkeep
from django_workflows.models import Run, Step
from django_workflows.upkeep import retention
from tests.recovery import bodies
from tests.recovery.conftest import Work
from tests.referrers.models import Audit, Pointer, Receipt, StepNote

pytestmark = pytest.mark.sqlite

NOW = timedelta(0)


@pytest.fixture
def runs(work: Work) -> list[str]:
    """Three that have ended."""
    found = [bodies.three_steps.start().id for _ in range(3)]
    work()
    return found


def _left() -> set[str]:
    return set(Run.objects.values_list("pk", flat=True))


def test_a_reference_is_set_to_null_or_deleted_as_its_field_says(runs: list[str]) -> None:
    receipt = Receipt.objects.create(run_id=runs[0])
    StepNote.objects.create(step=Step.objects.filter(run_id=runs[1])[0])
    assert retention.prune(older_than=NOW) == 3
    receipt.refresh_from_db()
    assert receipt.run_id is None
    assert not StepNote.objects.exists()
    assert not Step.objects.exists()


def test_a_protected_run_stays_and_the_others_go(runs: list[str], caplog: pytest.LogCaptureFixture) -> None:
    audit = Audit.objects.create(run_id=runs[1])
    with caplog.at_level(logging.WARNING):
        answer = upkeep.prune(older_than=NOW)
    assert (answer.removed, list(answer.kept)) == (2, [runs[1]])
    assert answer.kept[runs[1]] == "referrers.Audit refers to it, with an on_delete that protects it"
    assert caplog.text.count("has outlived its retention and is kept") == 1
    assert _left() == {runs[1]}
    audit.delete()
    assert upkeep.prune_runs(older_than=NOW) == 1


def test_a_constraint_of_the_database_keeps_its_run_alone(runs: list[str]) -> None:
    pointer = Pointer.objects.create(run_id=runs[1])
    answer = upkeep.prune(older_than=NOW)
    assert (answer.removed, list(answer.kept)) == (2, [runs[1]])
    assert answer.kept[runs[1]].startswith("the rows contradict what is to be written: ")
    assert _left() == {runs[1]}
    pointer.delete()


def test_a_full_batch_of_runs_that_stay_does_not_hide_the_rest(runs: list[str]) -> None:
    for run_id in runs[:2]:
        Audit.objects.create(run_id=run_id)
    assert upkeep.prune(older_than=NOW, batch=1).removed == 1
    assert _left() == set(runs[:2])
    Audit.objects.all().delete()


def test_what_is_known_to_stay_is_passed_over(runs: list[str]) -> None:
    Audit.objects.create(run_id=runs[0])
    kept = {runs[0]: "known", runs[1]: "known"}
    assert retention.prune(older_than=NOW, kept=kept) == 1
    assert _left() == set(runs[:2])
    Audit.objects.all().delete()
