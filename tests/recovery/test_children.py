"""Child runs: their ends are events in their parents' logs, delivered once through the outbox."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_workflows import EntityConflictError, RunCancelledError, RunFailedError, api
from django_workflows.models import Event, Outbox, Run
from django_workflows.services import outbox
from django_workflows.upkeep import retention
from tests.recovery import bodies
from tests.recovery.bodies import World
from tests.recovery.conftest import Work

pytestmark = pytest.mark.sqlite


def child_of(run_id: str) -> Run:
    return Run.objects.get(parent_id=run_id)


class TestChildren:
    def test_a_parent_gets_the_results_of_its_children(self, work: Work) -> None:
        run = bodies.parent.start(5)
        work()
        assert run.result(timeout=0) == [0, 1, 2, 3, 4]

    def test_a_child_knows_its_parent_and_is_owed_nothing(self, work: Work) -> None:
        run = bodies.parent.start(1)
        work()
        child = child_of(run.id)
        assert (child.parent_id, child.parent_correlation_id) == (run.id, "child:leaf:1")
        assert not Outbox.objects.exists()

    def test_a_child_that_fails_fails_its_parent_with_its_own_error_as_the_cause(
        self, work: Work, world: World
    ) -> None:
        world.broken = {"x"}
        run = bodies.parent_of.start("x")
        work()
        with pytest.raises(RunFailedError) as raised:
            run.result(timeout=0)
        assert raised.value.error_type == "django_workflows.exceptions.RunFailedError"
        assert child_of(run.id).id in str(raised.value)

    def test_a_handle_is_a_value(self, work: Work) -> None:
        run = bodies.handing_on.start()
        work()
        first, second, status, handle = run.result(timeout=0)
        assert (first, second, status) == (7, 7, "completed")
        assert handle.result(timeout=0) == 7

    def test_a_child_waits_in_the_default_queue_of_the_settings(self, work: Work, settings: object) -> None:
        settings.DJANGO_WORKFLOWS = {"DEFAULT_QUEUE": "main"}  # type: ignore[attr-defined]
        run = bodies.parent.start(1)
        work()
        assert {child_of(run.id).queue, Run.objects.get(pk=run.id).queue} == {"main"}

    def test_fibonacci_by_recursion_needs_no_more_slots_than_there_are(self, work: Work) -> None:
        run = bodies.fibonacci.start(6)
        work()
        assert run.result(timeout=0) == 8


class TestChildEnded:
    def test_is_recorded_once_however_often_it_is_delivered(self, work: Work) -> None:
        run = bodies.guardian.start()
        work()
        child = child_of(run.id)
        api.cancel_run(child.id, force=True)
        row = Outbox.objects.get(kind=outbox.CHILD_ENDED)
        again = Outbox(
            kind=row.kind, run_id=row.run_id, target=row.target, payload=row.payload, created_at=row.created_at
        )
        again.save()

        assert outbox.flush_outbox() == 3

        assert Event.objects.filter(run_id=run.id, type="child_failed").count() == 1

    def test_of_a_cancelled_child_cancels_the_wait_for_it(self, work: Work) -> None:
        run = bodies.guardian.start()
        work()
        api.cancel_run(child_of(run.id).id, force=True)
        work()
        with pytest.raises(RunFailedError) as raised:
            run.result(timeout=0)
        assert raised.value.error_type.endswith(RunCancelledError.__name__)

    def test_concerns_no_parent_that_has_ended(self, work: Work) -> None:
        run = bodies.guardian.start()
        work()
        child = child_of(run.id)
        api.cancel_run(run.id, force=True)
        events = Event.objects.filter(run_id=run.id).count()
        api.cancel_run(child.id, force=True)
        work()
        assert Event.objects.filter(run_id=run.id).count() == events
        assert not Outbox.objects.exists()

    def test_concerns_no_parent_that_was_pruned(self, work: Work) -> None:
        run = bodies.guardian.start(True)
        work()
        child = child_of(run.id)
        api.cancel_run(run.id, force=True)
        outbox.flush_outbox()
        assert retention.prune(older_than=timedelta(0)) == 1

        api.cancel_run(child.id, force=True)
        work()

        child.refresh_from_db()
        assert (child.status, child.parent_id) == ("cancelled", None)
        assert not Outbox.objects.exists()


class TestCancelCascades:
    def test_to_children_which_may_clean_up(self, work: Work, world: World) -> None:
        run = bodies.guardian.start()
        work()
        api.cancel_run(run.id)
        work()
        assert (run.status(), child_of(run.id).status) == ("cancelled", "cancelled")
        assert world.done() == ["cleanup"]

    def test_not_to_detached_ones(self, work: Work) -> None:
        run = bodies.guardian.start(True)
        work()
        api.cancel_run(run.id)
        work()
        assert (run.status(), child_of(run.id).status) == ("cancelled", "running")

    def test_to_more_children_than_one_delivery_takes(self, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(outbox, "_CANCELLED_AT_ONCE", 2)
        run = bodies.many_sleepers.start(5)
        work()
        api.cancel_run(run.id)
        work()
        assert set(Run.objects.filter(parent_id=run.id).values_list("status", flat=True)) == {"cancelled"}
        assert not Outbox.objects.exists()


class TestRetryWithChildren:
    def test_retries_the_child_that_failed_the_parent(self, work: Work, world: World) -> None:
        world.broken = {"x"}
        run = bodies.parent_of.start("x")
        work()
        child = child_of(run.id)
        world.broken = set()

        api.retry_run(run.id)
        work()

        assert run.result(timeout=0) == "x"
        assert child_of(run.id).id == child.id
        child.refresh_from_db()
        assert (child.status, child.life) == ("completed", 1)

    def test_takes_the_result_of_a_child_that_was_retried_before(self, work: Work, world: World) -> None:
        world.broken = {"x"}
        run = bodies.parent_of.start("x")
        work()
        world.broken = set()
        api.retry_run(child_of(run.id).id)
        work()
        assert run.status() == "failed"

        api.retry_run(run.id)
        work()

        assert run.result(timeout=0) == "x"
        assert world.done() == ["x", "x"]

    def test_refuses_where_the_child_was_cancelled(self, work: Work) -> None:
        run = bodies.guardian.start()
        work()
        api.cancel_run(child_of(run.id).id, force=True)
        work()
        with pytest.raises(EntityConflictError, match="was cancelled"):
            api.retry_run(run.id)
