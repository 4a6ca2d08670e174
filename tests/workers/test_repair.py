"""What a worker does when it meets a run whose tables contradict its log: it repairs the run and continues."""

from __future__ import annotations

from typing import Any

from django_workflows import api
from django_workflows.models import Run, Step
from django_workflows.store import database
from tests.support.eventually import eventually
from tests.support.processes import Workers
from tests.support.runs import types
from tests.workers import bodies

MODULE = bodies.__name__
FAST: dict[str, Any] = {"HEARTBEAT_INTERVAL": 0.5, "HEARTBEAT_TIMEOUT": 2.0, "POLL_INTERVAL": 0.2}


def test_a_step_row_without_a_decision_does_not_bar_the_step() -> None:
    run = bodies.adding.start(2)
    Step.objects.create(
        id="step_orphan", run_id=run.id, correlation_id="step:add:1", name=bodies.adding.name, status="pending",
        input='{}', queue="nobody", available_at=database.now(), created_at=database.now(),
    )  # fmt: skip
    with Workers(MODULE, settings=FAST):
        assert run.result(30) == 2


def test_a_run_whose_row_is_behind_its_log_continues() -> None:
    with Workers(MODULE, settings=FAST):
        run = bodies.hooked.start("behind", 2)
        eventually(lambda: "hook_created" in types(run.id), "the hook is there")
        api.resume_hook("behind", 1)
        eventually(lambda: Run.objects.get(pk=run.id).wake_at is None, "the first payload is taken")
    Run.objects.filter(pk=run.id).update(last_sequence=3)
    with Workers(MODULE, settings=FAST):
        # the next event takes a number that is taken: the call reports it, and the worker repairs it
        api.repair_run(run.id)
        api.resume_hook("behind", 2)
        assert run.result(30) == [1, 2]
