"""``fork_run``: a new run that begins with a copy of another's log."""

from __future__ import annotations

import pytest

from django_workflows import EntityConflictError, ReplayDivergenceError, api
from django_workflows.models import Event, Hook, Run, Step
from tests.recovery import bodies
from tests.recovery.bodies import World
from tests.recovery.conftest import Work

pytestmark = pytest.mark.sqlite


class TestForkRun:
    def test_takes_over_what_came_before_the_step_and_runs_the_rest(self, work: Work, world: World) -> None:
        run = bodies.three_steps.start()
        work()

        fork = api.fork_run(run.id, from_step="step:act:2")
        work()

        assert fork.result(timeout=0) == ["a", "b", "c"]
        assert world.done() == ["a", "b", "c", "b", "c"]
        assert Run.objects.get(pk=fork.id).forked_from == run.id

    def test_leaves_the_original_alone(self, work: Work) -> None:
        run = bodies.three_steps.start()
        work()
        before = list(Event.objects.filter(run_id=run.id).order_by("sequence").values())

        api.fork_run(run.id, from_step="step:act:3")
        work()

        assert list(Event.objects.filter(run_id=run.id).order_by("sequence").values()) == before

    def test_runs_its_steps_under_ids_of_their_own(self, work: Work, world: World) -> None:
        run = bodies.three_steps.start()
        work()
        api.fork_run(run.id, from_step="step:act:2")
        work()

        ids = [step_id for what, step_id in world.ids if what in "bc"]
        assert len(set(ids)) == 4

    def test_a_copied_step_has_its_row_with_its_result(self, work: Work) -> None:
        run = bodies.three_steps.start()
        work()
        fork = api.fork_run(run.id, from_step="step:act:2")

        mine, original = (Step.objects.get(run_id=run_id, correlation_id="step:act:1") for run_id in (fork.id, run.id))
        for column in (
            "name",
            "status",
            "input",
            "output",
            "attempt",
            "failures",
            "queue",
            "started_at",
            "completed_at",
        ):
            assert getattr(mine, column) == getattr(original, column), column
        assert mine.id != original.id

    def test_of_a_failed_run_resumes_where_it_failed(self, work: Work, world: World) -> None:
        world.broken = {"b"}
        run = bodies.three_steps.start()
        work()
        world.broken = set()

        fork = api.fork_run(run.id, from_step="step:act:2")
        work()

        assert fork.result(timeout=0) == ["a", "b", "c"]
        assert run.status() == "failed"

    def test_of_a_retried_run_copies_both_lives(self, work: Work, world: World) -> None:
        world.broken = {"charge"}
        run = bodies.cleaning_up.start()
        work()
        world.broken = set()
        api.retry_run(run.id)
        work()
        shipping = Event.objects.filter(run_id=run.id, type="step_created", data__contains='"ship"').get()

        fork = api.fork_run(run.id, from_step=shipping.correlation_id)
        work()

        assert fork.result(timeout=0) == "ship"
        assert world.done() == ["reserve", "charge", "release", "charge", "ship", "ship"]

    def test_draws_the_same_random_numbers(self, work: Work) -> None:
        run = bodies.drawing.start()
        work()
        fork = api.fork_run(run.id, from_step="step:act:2")
        work()
        assert fork.result(timeout=0) == run.result(timeout=0)

    def test_without_a_step_begins_afresh_with_other_numbers(self, work: Work, world: World) -> None:
        run = bodies.drawing.start()
        work()
        fork = api.fork_run(run.id)
        work()
        assert fork.result(timeout=0)[0] != run.result(timeout=0)[0]
        assert world.done() == ["draw", "last", "draw", "last"]

    def test_with_other_input(self, work: Work, world: World) -> None:
        run = bodies.acting_leaf.start("first")
        work()
        fork = api.fork_run(run.id, from_step="step:act:1", input={"args": ["second"], "kwargs": {}})
        work()
        assert fork.result(timeout=0) == "second"
        assert Run.objects.get(pk=fork.id).input == {"args": ["second"], "kwargs": {}}

    def test_takes_the_token_of_an_ended_run_over(self, work: Work) -> None:
        run = bodies.hooked.start("door")
        work()
        api.cancel_run(run.id, force=True)

        fork = api.fork_run(run.id, from_step="step:act:1")
        api.resume_hook("door", "in")
        work()

        assert fork.result(timeout=0) == "in"

    def test_copies_attributes_as_they_were_then(self, work: Work, world: World) -> None:
        world.broken = {"work"}
        run = bodies.attributed.start()
        work()
        fork = api.fork_run(run.id, from_step="step:act:1")
        assert Run.objects.get(pk=fork.id).attributes == {"stage": "one"}

    def test_sees_the_end_of_a_child_that_came_after_the_copy(self, work: Work) -> None:
        run = bodies.child_then_step.start()
        work()
        fork = api.fork_run(run.id, from_step="step:act:1")
        work()
        assert fork.result(timeout=0) == run.result(timeout=0) == ["side", 3]

    def test_a_step_that_had_begun_before_the_copy_is_handed_over_as_lost(self, work: Work, world: World) -> None:
        run = bodies.overlapping.start()
        work()

        fork = api.fork_run(run.id, from_step="step:act:2")
        events = list(Event.objects.filter(run_id=fork.id).order_by("sequence").values_list("type", "correlation_id"))
        work()

        assert events[-1] == ("step_retrying", "step:outlast:1")
        assert fork.result(timeout=0) == run.result(timeout=0) == ["after x2", "x2"]
        assert world.done().count("x1") == 1


class TestPlanFork:
    def test_says_what_is_kept_and_what_runs_again_and_writes_nothing(self, work: Work) -> None:
        run = bodies.three_steps.start()
        work()
        plan = api.plan_fork(run.id, "step:act:2")

        assert [effect.correlation_id for effect in plan.kept] == ["step:act:1"]
        assert [effect.correlation_id for effect in plan.again] == ["step:act:2", "step:act:3"]
        assert {effect.name for effect in plan.again} == {"tests.recovery.bodies.act"}
        assert Run.objects.count() == 1

    def test_counts_what_had_not_ended_before_the_step_among_what_runs_again(self, work: Work) -> None:
        run = bodies.overlapping.start()
        work()
        plan = api.plan_fork(run.id, "step:act:2")
        assert {effect.correlation_id for effect in plan.kept} == {"step:act:1"}
        assert {effect.correlation_id for effect in plan.again} == {"step:act:2", "step:outlast:1"}


class TestForkRefuses:
    def test_a_step_that_the_run_never_had(self, work: Work) -> None:
        run = bodies.three_steps.start()
        work()
        with pytest.raises(EntityConflictError, match="step:act:1, step:act:2, step:act:3"):
            api.fork_run(run.id, from_step="step:act:9")

    def test_input_with_which_the_body_would_have_gone_another_way(self, work: Work) -> None:
        run = bodies.branching.start(True)
        work()
        with pytest.raises(EntityConflictError, match="With this input"):
            api.fork_run(run.id, from_step="step:act:2", input=[False])

    def test_a_body_that_has_passed_on_its_own_run_id(self, work: Work) -> None:
        run = bodies.telling_its_id.start()
        work()
        with pytest.raises(EntityConflictError, match="its own run id"):
            api.fork_run(run.id, from_step="step:act:2")
        assert api.fork_run(run.id, from_step="step:act:1").id != run.id

    def test_input_that_does_not_fit_the_workflow(self, work: Work) -> None:
        run = bodies.acting_leaf.start("x")
        work()
        with pytest.raises(TypeError, match="acting_leaf"):
            api.fork_run(run.id, from_step="step:act:1", input=[1, 2, 3])

    def test_code_that_does_not_fit_what_is_to_be_copied(self, work: Work) -> None:
        run = bodies.three_steps.start()
        work()
        rows = Event.objects.filter(run_id=run.id, correlation_id="step:act:1", type="step_created")
        before = rows.get().data
        rows.update(data=before.replace('"a"', '"z"'))
        with pytest.raises(ReplayDivergenceError):
            api.fork_run(run.id, from_step="step:act:2")
        rows.update(data=before)
        assert Run.objects.count() == 1

    def test_a_token_that_is_taken_and_writes_nothing(self, work: Work) -> None:
        run = bodies.hooked.start("mine")
        work()
        with pytest.raises(EntityConflictError, match=run.id):
            api.fork_run(run.id, from_step="step:act:1")
        assert Run.objects.count() == 1
        assert Hook.objects.count() == 1

    def test_to_wait_for_a_child_that_has_not_ended(self, work: Work) -> None:
        run = bodies.sleeping_child_then_step.start()
        work()
        with pytest.raises(EntityConflictError, match="has not ended yet"):
            api.fork_run(run.id, from_step="step:act:1")
