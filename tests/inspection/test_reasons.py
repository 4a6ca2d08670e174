"""Why a run does not continue: what it waits for, and whether a worker is alive that could take it."""

from __future__ import annotations

import pytest

from django_workflows import RunNotFoundError, api
from django_workflows.authoring.handles import RunHandle
from django_workflows.models import Worker
from django_workflows.services import runs
from django_workflows.store import database
from tests.support.runs import (
    UNKNOWN,
    add_hook,
    add_step,
    add_wait,
    end,
    new_run,
    running_step,
    started_run,
    transition,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sqlite]


def worker(*queues: str, workflows: tuple[str, ...] = (UNKNOWN,)) -> None:
    now = database.now()
    Worker.objects.create(
        id=f"wrkr_{'_'.join(queues) or 'all'}", hostname="web-1", pid=7, queues=list(queues), workflows=list(workflows),
        started_at=now, heartbeat_at=now,
    )  # fmt: skip


def codes(run_id: str) -> list[str]:
    return [reason.code for reason in api.explain(run_id)]


class TestDue:
    def test_without_a_worker_for_its_queue(self) -> None:
        worker("fast")
        (reason,) = api.explain(new_run(queue="slow"))
        assert reason.code == "no_worker"
        assert reason.sentence == "No worker is alive for queue slow: by_hand waits for one."
        assert reason.details == {"queue": "slow", "name": UNKNOWN}
        assert reason.since is not None

    def test_with_workers_that_do_not_know_its_code(self) -> None:
        worker(workflows=("shop.other",))
        assert codes(new_run()) == ["unknown_code"]

    def test_with_a_worker_it_is_just_due(self) -> None:
        worker("default")
        assert codes(new_run()) == ["due"]

    def test_a_step_without_a_worker_for_its_queue(self) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            add_step(t)
            t.run.wake_at = None
        assert codes(run_id) == ["no_worker"]
        worker("default")
        assert codes(run_id) == ["due"]


def test_what_it_waits_for() -> None:
    worker()
    run_id = started_run()
    running_step(run_id)
    with transition(run_id) as t:
        add_hook(t, "door")
        add_wait(t)
        t.run.wake_at = None
    reasons = api.explain(run_id)
    assert [reason.code for reason in reasons] == ["running", "hook", "sleep"]
    assert reasons[1].sentence.startswith("Waits for hook door for ")
    assert all(reason.since is not None for reason in reasons)


def test_a_blocked_run() -> None:
    worker()
    run_id = started_run()
    with transition(run_id) as t:
        runs.block_run(t, "The code does not fit", "v2")
    (reason, *_) = api.explain(run_id)
    assert reason.code == "blocked"
    assert "The code does not fit" in reason.sentence


def test_a_run_that_has_ended_has_none_and_an_unknown_one_is_an_error() -> None:
    run_id = started_run()
    with transition(run_id) as t:
        end(t)
    assert api.explain(run_id) == []
    with pytest.raises(RunNotFoundError):
        api.explain("wrun_none")


def test_the_time_out_of_a_result_says_why() -> None:
    run_id = new_run(queue="slow")
    with pytest.raises(TimeoutError, match="No worker is alive for queue slow"):
        RunHandle(run_id).result(timeout=1)
    with pytest.raises(TimeoutError) as caught:
        RunHandle(run_id).result(timeout=0)
    assert "No worker" not in str(caught.value)
