"""Two versions of one workflow on live workers: the misfit parks a run and writes nothing; the other goes on with it."""

from __future__ import annotations

from django_workflows.models import Run
from tests.control.rolling_deploy import Figures, finish, load, workers


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
