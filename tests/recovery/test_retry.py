"""``retry_run``: a failed run resumes at its failed step, and nothing that succeeded is repeated."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

from django_workflows import (
    EntityConflictError,
    FenceConflictError,
    HookNotFoundError,
    RunFailedError,
    RunNotFoundError,
    api,
)
from django_workflows.models import Event, Run, Step
from django_workflows.recovery import retry
from django_workflows.store import locking
from django_workflows.values import clock
from tests.recovery import bodies
from tests.recovery.bodies import World
from tests.recovery.conftest import Work

pytestmark = pytest.mark.sqlite


@pytest.fixture
def late(_tables: None) -> Iterator[None]:
    """The clock may be moved; it is restored afterwards."""
    yield
    clock.reset()


def failed(definition: Any, work: Work, *args: Any) -> Any:
    """A run of the workflow that has failed."""
    run = definition.start(*args)
    work()
    with pytest.raises(RunFailedError):
        run.result(timeout=0)
    return run


class TestRetryRun:
    def test_resumes_at_the_failed_step_and_repeats_nothing_else(self, work: Work, world: World) -> None:
        world.broken = {"b"}
        run = failed(bodies.three_steps, work)
        world.broken = set()

        api.retry_run(run.id)
        work()

        assert run.result(timeout=0) == ["a", "b", "c"]
        assert world.done() == ["a", "b", "b", "c"]

    def test_keeps_the_id_of_the_run_and_of_the_step(self, work: Work, world: World) -> None:
        world.broken = {"b"}
        run = failed(bodies.three_steps, work)
        world.broken = set()

        api.retry_run(run.id)
        work()

        keys = [step_id for what, step_id in world.ids if what == "b"]
        assert len(keys) == 2
        assert len(set(keys)) == 1
        assert Step.objects.get(pk=keys[0]).attempt == 2

    def test_keeps_history_and_begins_another_life(self, work: Work, world: World) -> None:
        world.broken = {"a"}
        run = failed(bodies.three_steps, work)
        before = list(Event.objects.filter(run_id=run.id).order_by("sequence").values_list("sequence", "type", "data"))
        world.broken = set()

        api.retry_run(run.id)
        work()

        after = list(Event.objects.filter(run_id=run.id).order_by("sequence").values_list("sequence", "type", "data"))
        assert after[: len(before)] == before
        assert after[len(before)][1] == "run_retried"
        row = Run.objects.get(pk=run.id)
        assert (row.life, row.error, row.error_code) == (1, None, "")
        assert set(Event.objects.filter(run_id=run.id).values_list("life", flat=True)) == {0, 1}

    def test_may_fail_and_be_retried_again_and_again(self, work: Work, world: World) -> None:
        world.broken = {"b"}
        run = failed(bodies.three_steps, work)
        for _ in range(3):
            api.retry_run(run.id)
            work()
            assert run.status() == "failed"
        world.broken = set()

        api.retry_run(run.id)
        work()

        assert run.result(timeout=0) == ["a", "b", "c"]
        assert world.done() == ["a", "b", "b", "b", "b", "b", "c"]

    def test_gives_the_step_all_its_retries_again(self, work: Work, world: World) -> None:
        world.broken = {"b"}
        run = failed(bodies.three_steps, work)
        step = Step.objects.get(run_id=run.id, correlation_id="step:act:2")
        assert step.failures == 1

        api.retry_run(run.id)

        step.refresh_from_db()
        assert (step.status, step.failures, step.losses, step.attempt) == ("pending", 0, 0, 1)

    def test_takes_the_cleanup_of_the_failed_life_back(self, work: Work, world: World) -> None:
        world.broken = {"charge"}
        run = failed(bodies.cleaning_up, work)
        assert world.done() == ["reserve", "charge", "release"]
        world.broken = set()

        api.retry_run(run.id)
        work()

        assert run.result(timeout=0) == "ship"
        assert world.done() == ["reserve", "charge", "release", "charge", "ship"]

    def test_a_cleanup_that_is_needed_again_runs_again_as_another_step(self, work: Work, world: World) -> None:
        world.broken = {"charge"}
        run = failed(bodies.cleaning_up, work)

        api.retry_run(run.id)
        work()

        assert run.status() == "failed"
        assert world.done() == ["reserve", "charge", "release", "charge", "release"]
        releases = [step_id for what, step_id in world.ids if what == "release"]
        assert len(set(releases)) == 2

    def test_a_failed_cleanup_is_resumed_and_not_what_it_cleans_up_after(self, work: Work, world: World) -> None:
        world.broken = {"charge", "refund"}
        run = failed(bodies.failing_cleanup, work)
        world.broken = set()

        api.retry_run(run.id)
        work()

        assert run.result(timeout=0) == "refunded"
        assert world.done() == ["charge", "refund", "refund"]

    def test_branches_beside_the_failure_keep_their_results(self, work: Work, world: World) -> None:
        world.broken = {"x1"}
        run = failed(bodies.branches, work)
        assert sorted(world.done()) == ["x1", "y1", "y2"]
        world.broken = set()

        api.retry_run(run.id)
        work()

        assert run.result(timeout=0) == ["x2", "y2"]
        assert sorted(world.done()) == ["x1", "x1", "x2", "y1", "y2"]

    @pytest.mark.parametrize("broken", [{"p"}, {"q"}, {"p", "q", "r"}])
    def test_a_task_group_resumes_every_task(self, work: Work, world: World, broken: set[str]) -> None:
        world.broken = broken
        run = failed(bodies.group, work)
        world.broken = set()

        api.retry_run(run.id)
        work()

        assert run.result(timeout=0) == "all"
        for name in {"p", "q", "r"} - broken:
            assert world.done().count(name) == 1

    def test_what_depends_on_the_failure_is_done_again(self, work: Work, world: World) -> None:
        world.broken = {"m"}
        run = failed(bodies.tallied, work)
        world.broken = set()

        api.retry_run(run.id)
        work()

        assert run.result(timeout=0) == ["m", "n"]
        assert world.done().count("n") == 1
        assert {"report 0", "report 1"} <= set(world.done())

    def test_a_bug_in_the_body_resumes_from_the_last_event_once_fixed(self, work: Work, world: World) -> None:
        world.bug = True
        run = failed(bodies.buggy, work)
        world.bug = False

        api.retry_run(run.id)
        work()

        assert run.result(timeout=0) == "after"
        assert world.done() == ["before", "after"]

    def test_a_bug_in_the_body_does_not_bring_back_failures_that_were_handled(self, work: Work, world: World) -> None:
        world.bug, world.broken = True, {"optional"}
        run = failed(bodies.handled_then_buggy, work)
        world.bug = False

        api.retry_run(run.id)
        work()

        assert run.result(timeout=0) == "done"
        assert world.done() == ["optional", "instead", "main"]

    def test_an_unrepaired_bug_fails_again(self, work: Work, world: World) -> None:
        world.bug = True
        run = failed(bodies.buggy, work)

        api.retry_run(run.id)
        work()

        assert run.status() == "failed"
        assert world.done() == ["before"]
        world.bug = False
        api.retry_run(run.id)
        work()
        assert run.status() == "completed"

    def test_attributes_set_because_of_the_failure_are_taken_back(self, work: Work, world: World) -> None:
        world.broken = {"work"}
        run = failed(bodies.attributed, work)
        assert Run.objects.get(pk=run.id).attributes == {"stage": "broken", "broken": "yes"}
        world.broken = set()

        api.retry_run(run.id)

        assert Run.objects.get(pk=run.id).attributes == {"stage": "one"}
        work()
        assert Run.objects.get(pk=run.id).attributes == {"stage": "two"}

    def test_reopens_hooks_and_waits(self, work: Work, world: World) -> None:
        world.broken = {"announce"}
        run = failed(bodies.hooked, work, "here")
        with pytest.raises(HookNotFoundError):
            api.resume_hook("here", 1)
        world.broken = set()

        api.retry_run(run.id)
        api.resume_hook("here", {"now": True})
        work()

        assert run.result(timeout=0) == {"now": True}

    def test_reopens_sleeps(self, work: Work, world: World) -> None:
        world.broken = {"now"}
        run = failed(bodies.waiting_long, work)
        world.broken = set()

        api.retry_run(run.id)
        work()
        assert run.status() == "running"
        assert api.wake_run(run.id) == 1
        work()

        assert run.result(timeout=0) == "slept"

    def test_a_step_that_still_ran_when_the_run_failed_keeps_its_result(self, work: Work, world: World) -> None:
        world.broken = {"x"}
        run = failed(bodies.outlasting, work)
        world.broken = set()

        api.retry_run(run.id)
        work()

        assert run.result(timeout=0) == ["after x", "x"]
        assert [name for name, _ in world.ledger].count("outlast") == 1

    def test_a_run_past_its_deadline_gets_the_same_time_again(self, work: Work, late: None) -> None:
        run = bodies.bounded.start()
        work()
        clock.advance(timedelta(hours=2))
        work()
        row = Run.objects.get(pk=run.id)
        assert (row.status, row.error_code) == ("failed", "run_timeout")

        api.retry_run(run.id)
        row.refresh_from_db()
        retried = Event.objects.get(run_id=run.id, type="run_retried")
        assert row.deadline_at == retried.created_at + timedelta(hours=1)
        assert (row.timed_out_at, row.error) == (None, None)
        work()
        assert run.status() == "running"
        api.wake_run(run.id)
        work()
        assert run.result(timeout=0) == "slept"

    def test_in_the_callers_transaction_rolls_back_with_it(self, work: Work, world: World) -> None:
        world.broken = {"b"}
        run = failed(bodies.three_steps, work)
        with transaction.atomic():
            api.retry_run(run.id)
            assert run.status() == "running"
            transaction.set_rollback(True)
        assert run.status() == "failed"
        assert not Event.objects.filter(type="run_retried").exists()

    @pytest.mark.parametrize("twin", [api.aretry_run])
    def test_has_a_twin_for_async_code(self, work: Work, world: World, twin: Any) -> None:
        world.broken = {"b"}
        run = failed(bodies.three_steps, work)
        async_to_sync(twin)(run.id)
        assert run.status() == "running"


class TestRetryRefuses:
    def test_a_plan_that_was_made_on_another_log(self, work: Work, world: World) -> None:
        world.broken = {"b"}
        run = failed(bodies.three_steps, work)
        plan = retry.plan_retry(run.id)
        api.retry_run(run.id)
        work()
        assert run.status() == "failed"

        with transaction.atomic():
            locked = locking.lock_run(run.id)
            with pytest.raises(FenceConflictError):
                retry.retry_run(locked, plan)

    def test_a_run_that_has_not_failed(self, work: Work) -> None:
        run = bodies.three_steps.start()
        with pytest.raises(EntityConflictError, match="is pending"):
            api.retry_run(run.id)
        work()
        with pytest.raises(EntityConflictError, match="is completed"):
            api.retry_run(run.id)

    def test_a_run_that_does_not_exist(self) -> None:
        with pytest.raises(RunNotFoundError):
            api.retry_run("wrun_nobody")

    def test_a_run_whose_token_belongs_to_another_by_now_and_writes_nothing(self, work: Work, world: World) -> None:
        world.broken = {"announce"}
        run = failed(bodies.hooked, work, "shared")
        world.broken = set()
        other = bodies.hooked.start("shared")
        work()
        events = Event.objects.filter(run_id=run.id).count()

        with pytest.raises(EntityConflictError, match=other.id):
            api.retry_run(run.id)

        assert run.status() == "failed"
        assert Event.objects.filter(run_id=run.id).count() == events

    def test_a_second_retry_while_the_first_is_under_way(self, work: Work, world: World) -> None:
        world.broken = {"b"}
        run = failed(bodies.three_steps, work)
        api.retry_run(run.id)
        with pytest.raises(EntityConflictError, match="is running"):
            api.retry_run(run.id)
