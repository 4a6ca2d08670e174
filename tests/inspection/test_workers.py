"""One judgement of which workers live: doctor, overview and validator say the same at every second."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from django_workflows.inspection import health
from django_workflows.inspection.workers import Liveness, live_workers, liveness, serves, worker_states
from django_workflows.models import Worker
from django_workflows.store import database
from django_workflows.upkeep import worker_rows
from tests.admin import histories

pytestmark = [pytest.mark.sqlite, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.DJANGO_WORKFLOWS = {
        **settings.DJANGO_WORKFLOWS,
        "HEARTBEAT_INTERVAL": 5.0,
        "HEARTBEAT_TIMEOUT": 60.0,
    }


def silent_for(seconds: float, now: datetime) -> Worker:
    return Worker(heartbeat_at=now - timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-5, "alive"), (0, "alive"), (15, "alive"), (15.1, "late"), (60, "late"), (60.1, "dead"), (9999, "dead")],
)
def test_silence_is_judged_by_the_settings(seconds: float, expected: str) -> None:
    now = database.now()
    assert liveness(silent_for(seconds, now), now) == Liveness(expected)


def test_every_caller_gets_the_same_answer() -> None:
    now = database.now()
    for seconds in (1, 30, 90):
        histories.worker("web", seconds, heartbeat_at=now - timedelta(seconds=seconds))
    stopped = histories.worker("web", 2, heartbeat_at=now)
    worker_rows.stop_worker(stopped.pk)
    snapshot = health.take_snapshot()
    assert [worker.pid for worker in snapshot.live] == [1, 30]
    assert [worker.pid for worker in snapshot.silent] == [90]
    assert sorted(worker.pid for worker in live_workers(now)) == [1, 30]
    assert [(state.worker.pid, str(state.state), state.is_dead) for state in worker_states(now)] == [
        (1, "alive", False),
        (30, "late", False),
        (90, "dead", True),
    ]


def test_a_worker_without_queues_serves_them_all() -> None:
    assert serves(Worker(queues=[]), "slow")
    assert serves(Worker(queues=["slow", "default"]), "slow")
    assert not serves(Worker(queues=["default"]), "slow")
