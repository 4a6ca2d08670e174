"""Two versions of one workflow on live workers: the one that does not fit parks a run and writes nothing; the other continues."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_workflows import api
from django_workflows.authoring.workflows import WORKFLOWS
from django_workflows.models import Event, Run
from django_workflows.workers.turn.advancer import Advancer
from tests.recovery import bodies, rolling
from tests.recovery.rolling_deploy import Figures, finish, load, workers
from tests.support.lone_worker import LoneWorker


@pytest.fixture
def _unknown_afterwards(_tables: None) -> Iterator[None]:
    """No single version fits all of these runs, so the validator must know none of them."""
    yield
    for name in rolling.DEFINED:
        WORKFLOWS.discard(name)


@pytest.mark.usefixtures("_unknown_afterwards")
def test_two_versions_share_the_runs_and_neither_breaks_what_the_other_began() -> None:
    figures = Figures()
    with workers("1"), workers("2"):
        load(figures, seconds=4.0, rate=12.0)
        finish(figures, patience=40.0)

    assert figures.statuses == {"completed": figures.started}
    assert figures.misfits == []
    assert figures.blocked, "no run ever met code that did not fit it: the test shows nothing"
    assert set(figures.by_version) >= {"1", "2"}
    assert not Run.objects.blocked().exists()


@pytest.fixture
def advancer() -> Iterator[Advancer]:
    """A worker's turns, its bodies kept from one to the next."""
    made = LoneWorker(slots=0).advancer
    yield made
    made.bodies.clear()
    made.connection.close()


def test_a_misfit_takes_no_event_from_the_runs_that_are_advanced_with_it(advancer: Advancer) -> None:
    """Of a batch that fails, bodies that were not reached yet had the new events in their entities, never delivered."""
    misfit, fitting = bodies.three_steps.using(priority=1).start(), bodies.echo.start("tok")
    advancer.turn()
    created = Event.objects.get(run_id=misfit.id, type="step_created")
    Event.objects.filter(pk=created.pk).update(data=created.data.replace('"a"', '"z"'))
    advancer.bodies.drop(misfit.id)
    api.wake_run(misfit.id)
    Run.objects.filter(pk=misfit.id).update(wake_at=created.created_at)
    api.resume_hook("tok", "news")

    advancer.turn()
    advancer.turn()

    assert fitting.result(timeout=0) == "news"
    assert Run.objects.get(pk=misfit.id).blocked_reason
    Event.objects.filter(pk=created.pk).update(data=created.data)
