"""Runs that are driven in the test's own process, until nothing is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from django_workflows.workers.process import WorkerProcess
from tests.recovery import bodies

Work = Callable[[], None]


@pytest.fixture(autouse=True)
def _tables(transactional_db: None, request: pytest.FixtureRequest) -> None:
    """Workers commit: every test here has real transactions. At the end all its runs are verified."""
    if not request.node.get_closest_marker("tampers"):
        request.getfixturevalue("verified")


@pytest.fixture(autouse=True)
def world() -> Iterator[bodies.World]:
    """What the steps did, and what they are to do."""
    bodies.WORLD.reset()
    yield bodies.WORLD
    bodies.WORLD.reset()


@pytest.fixture
def work() -> Work:
    """Advance every run and execute every step that is due, then return."""

    def burst() -> None:
        WorkerProcess(concurrency=4, burst=True, grace=5.0).run()

    return burst
