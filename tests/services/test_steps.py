"""The life of a step: one verb per transition, checked under the run's lock."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_workflows import step as define_step
from django_workflows.eventlog.statuses import StepStatus
from django_workflows.exceptions import EntityConflictError, RunNotActiveError
from django_workflows.models import Event, Run, Step
from django_workflows.serialization import Encoded, dumps, encode_error
from django_workflows.services import runs, steps
from django_workflows.store import locking
from django_workflows.store.transactions import atomic
from django_workflows.store.transition import ANY_STEP
from django_workflows.workers.attempts.attempts import attempt_of
from django_workflows.workers.attempts.step_runtime import StepRuntime
from tests.support.runs import add_step, end, run_row, running_step, started_run, transition, types

pytestmark = pytest.mark.django_db(transaction=True)
ERROR = encode_error(ValueError("no"))


@define_step(name="tests.services.work")
def work() -> None: ...


class TestCreateStep:
    def test_a_created_step_is_pending_and_logged(self) -> None:
        run_id = started_run(priority=7)
        with transition(run_id) as t:
            step = add_step(t)
        row = Step.objects.get(pk=step.id)
        assert (row.status, row.attempt, row.priority, row.input) == ("pending", 0, 7, {"args": [1], "kwargs": {}})
        assert types(run_id) == ["run_created", "run_started", "step_created"]

    def test_the_sequence_is_dense_and_kept_by_the_run(self) -> None:
        run_id = started_run()
        for number in (1, 2, 3):
            with transition(run_id) as t:
                add_step(t, number)
        sequences = list(Event.objects.filter(run_id=run_id).order_by("pk").values_list("sequence", flat=True))
        assert sequences == [1, 2, 3, 4, 5]
        assert run_row(run_id).last_sequence == 5

    def test_a_run_that_has_ended_takes_no_step(self) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            end(t)
        with pytest.raises(RunNotActiveError), transition(run_id) as t:
            add_step(t)
        assert types(run_id)[-1] == "run_completed"


class TestStartStep:
    def test_the_attempt_counts_every_start_and_the_first_time_is_kept(self) -> None:
        run_id = started_run()
        step = running_step(run_id, "wrkr_1")
        first = Step.objects.get(pk=step.id).started_at
        with transition(run_id) as t:
            steps.retry_step(t, t.entities.steps[step.correlation_id], ERROR, t.now)
        with transition(run_id) as t:
            assert steps.start_step(t, t.entities.steps[step.correlation_id], "wrkr_2") == 2
        row = Step.objects.get(pk=step.id)
        assert (row.attempt, row.worker_id, row.started_at) == (2, "wrkr_2", first)

    def test_a_running_step_is_not_started_again(self) -> None:
        run_id = started_run()
        step = running_step(run_id, "wrkr_1")
        with pytest.raises(EntityConflictError), transition(run_id) as t:
            steps.start_step(t, t.entities.steps[step.correlation_id], "wrkr_2")
        assert types(run_id).count("step_started") == 1


class TestLease:
    def test_only_the_current_attempt_of_the_current_worker_holds_it(self) -> None:
        step = running_step(started_run(), "wrkr_1")
        assert steps.holds_lease(step, "wrkr_1", 1)
        assert not steps.holds_lease(step, "wrkr_2", 1)
        assert not steps.holds_lease(step, "wrkr_1", 2)
        assert not steps.holds_lease(None, "wrkr_1", 1)

    def test_a_step_back_in_the_queue_holds_none(self) -> None:
        run_id = started_run()
        step = running_step(run_id, "wrkr_1")
        with transition(run_id) as t:
            lost = t.entities.steps[step.correlation_id]
            steps.lose_step(t, lost)
            assert not steps.holds_lease(lost, "wrkr_1", 1)


class TestCompleteStep:
    def test_the_output_is_stored_and_the_run_is_due(self) -> None:
        run_id = started_run()
        step = running_step(run_id)
        with transition(run_id) as t:
            runs.set_wake(t, undelivered=False)
        with transition(run_id) as t:
            steps.complete_step(t, t.entities.steps[step.correlation_id], Encoded("[1]"))
        row = Step.objects.get(pk=step.id)
        assert (row.status, row.output) == ("completed", [1])
        assert row.completed_at is not None
        assert Run.objects.due().filter(pk=run_id).exists()

    def test_a_step_ends_once(self) -> None:
        run_id = started_run()
        step = running_step(run_id)
        with transition(run_id) as t:
            steps.complete_step(t, t.entities.steps[step.correlation_id], Encoded("1"))
        with pytest.raises(EntityConflictError), transition(run_id) as t:
            ended = locking.read_step(t, step.id)
            assert ended is not None
            steps.fail_step(t, ended, ERROR)
        assert Step.objects.get(pk=step.id).status == StepStatus.COMPLETED

    def test_a_step_that_ran_when_its_run_ended_may_record_its_outcome_and_wakes_nothing(self) -> None:
        run_id = started_run()
        step = running_step(run_id)
        with transition(run_id) as t:
            end(t)
        with transition(run_id) as t:
            late = locking.read_step(t, step.id)
            assert late is not None
            steps.complete_step(t, late, Encoded("1"))
        assert types(run_id)[-2:] == ["run_completed", "step_completed"]
        assert run_row(run_id).wake_at is None


class TestRetryStep:
    def test_it_waits_for_its_time_and_counts_a_failure(self) -> None:
        run_id = started_run()
        step = running_step(run_id, "wrkr_1")
        with transition(run_id) as t:
            at = t.now + timedelta(minutes=5)
            steps.retry_step(t, t.entities.steps[step.correlation_id], ERROR, at)
        row = Step.objects.get(pk=step.id)
        assert (row.status, row.failures, row.losses, row.available_at, row.worker_id) == ("pending", 1, 0, at, None)
        assert not Step.objects.claimable().exists()

    def test_a_run_that_has_ended_tries_nothing_again(self) -> None:
        run_id = started_run()
        step = running_step(run_id)
        with transition(run_id) as t:
            end(t)
        with pytest.raises(EntityConflictError), transition(run_id) as t:
            late = locking.read_step(t, step.id)
            assert late is not None
            steps.retry_step(t, late, ERROR, t.now)


class TestLoseStep:
    def test_a_loss_is_no_failure(self) -> None:
        run_id = started_run()
        step = running_step(run_id, "wrkr_1")
        with transition(run_id) as t:
            steps.lose_step(t, t.entities.steps[step.correlation_id])
        row = Step.objects.get(pk=step.id)
        assert (row.status, row.failures, row.losses) == ("pending", 0, 1)
        retrying = Event.objects.get(run_id=run_id, type="step_retrying")
        assert retrying.payload["lost"] is True

    def test_max_losses_end_it_with_an_error_of_their_own(self, settings: object) -> None:
        settings.DJANGO_WORKFLOWS = {"MAX_LOSSES": 2}  # type: ignore[attr-defined]
        run_id = started_run()
        step = running_step(run_id, "wrkr_1")
        with transition(run_id) as t:
            steps.lose_step(t, t.entities.steps[step.correlation_id])
        with transition(run_id) as t:
            again = t.entities.steps[step.correlation_id]
            again.available_at = t.now
            steps.start_step(t, again, "wrkr_2")
        with transition(run_id) as t:
            steps.lose_step(t, t.entities.steps[step.correlation_id])
        row = Step.objects.get(pk=step.id)
        assert (row.status, row.failures) == ("failed", 0)
        assert row.error["type"].endswith("WorkerLostError")

    def test_what_a_stopping_worker_hands_back_counts_as_neither(self) -> None:
        run_id = started_run()
        step = running_step(run_id, "wrkr_1")
        with transition(run_id) as t:
            steps.release_step(t, t.entities.steps[step.correlation_id])
        row = Step.objects.get(pk=step.id)
        assert (row.status, row.failures, row.losses) == ("pending", 0, 0)


class TestCancelStep:
    def test_a_pending_step_never_starts(self) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            step = add_step(t)
        with transition(run_id) as t:
            assert steps.cancel_step(t, t.entities.steps[step.correlation_id], step.correlation_id)
        with pytest.raises(EntityConflictError), transition(run_id) as t:
            row = locking.read_step(t, step.id)
            assert row is not None
            steps.start_step(t, row, "wrkr_1")

    def test_what_has_ended_is_not_cancelled(self) -> None:
        run_id = started_run()
        step = running_step(run_id)
        with transition(run_id) as t:
            ended = t.entities.steps[step.correlation_id]
            steps.complete_step(t, ended, dumps(1))
            assert not steps.cancel_step(t, ended, step.correlation_id)
        assert "step_cancelled" not in types(run_id)


@pytest.mark.parametrize(
    "text", ['{"args":[],"kwargs":{}}', '{"args":[],"kwargs":{"a":1}}', '{"args":[1,{"b":2}],"kwargs":{}}',
             '{"args":[",\\"kwargs\\":{}}"],"kwargs":{"x":",\\"kwargs\\":{}}"}}']
)  # fmt: skip
def test_an_input_is_split_without_loss(text: str) -> None:
    import json

    args, kwargs = steps.split_input(Encoded(text))
    assert {"args": json.loads(args), "kwargs": json.loads(kwargs)} == json.loads(text)


def test_a_step_whose_transaction_was_taken_back_waits_before_it_is_tried_again() -> None:
    """Without a pause it would go the same way over and over, and the log would grow each time."""
    run_id = started_run()
    with transition(run_id) as t:
        step = add_step(t)
        steps.start_step(t, step, "wrkr_1")
    with transition(run_id) as t:
        steps.lose_step(t, t.entities.steps[step.correlation_id], "Rolled back.", at_least=timedelta(seconds=5))
        assert ANY_STEP not in t.wake
        row = t.entities.steps[step.correlation_id]
        assert (row.status, row.available_at) == ("pending", t.now + timedelta(seconds=5))
        assert (row.failures, row.losses) == (0, 1)
    (event,) = Event.objects.filter(run_id=run_id, type="step_retrying")
    assert event.payload["error"]["message"] == "Rolled back. Lost attempts at this step: 1."


def test_a_step_that_is_given_back_again_and_again_waits_longer_each_time() -> None:
    run_id = started_run()
    pauses = []
    with transition(run_id) as t:
        step = add_step(t)
        for _ in range(14):
            steps.start_step(t, step, "wrkr_1")
            steps.release_step(t, step)
            pauses.append((step.available_at - t.now).total_seconds())
    assert pauses[:3] == [0, 0, 0]
    assert pauses[3:6] == pytest.approx([0.1, 0.2, 0.4])
    assert pauses[-1] == 15.0


class TestWritesUnderALease:
    """What an attempt writes beside its outcome is refused once another attempt, or none, is the current one."""

    def _superseded(self) -> tuple[str, str]:
        """A run and its step, running as attempt 2 on ``wrkr_2``."""
        run_id = started_run()
        step = running_step(run_id, "wrkr_1")
        with transition(run_id) as t:
            steps.lose_step(t, t.entities.steps[step.correlation_id])
        with transition(run_id) as t:
            steps.start_step(t, t.entities.steps[step.correlation_id], "wrkr_2")
        return run_id, step.id

    @pytest.mark.parametrize("stale", [("wrkr_1", 1), ("wrkr_2", 1), ("wrkr_1", 2), ("wrkr_2", 3)])
    def test_a_stale_lease_is_refused_on_the_run_and_beside_it(self, stale: tuple[str, int]) -> None:
        run_id, step_id = self._superseded()
        with transition(run_id) as t, pytest.raises(EntityConflictError, match="no longer current"):
            steps.require_lease(locking.read_step(t, step_id), step_id, *stale)
        with atomic(), pytest.raises(EntityConflictError, match="no longer current"):
            steps.lock_lease(step_id, *stale)

    def test_the_current_lease_is_accepted(self) -> None:
        run_id, step_id = self._superseded()
        with transition(run_id) as t:
            steps.require_lease(locking.read_step(t, step_id), step_id, "wrkr_2", 2)
        with atomic():
            steps.lock_lease(step_id, "wrkr_2", 2)

    def test_a_late_attempt_sets_no_attribute(self) -> None:
        run_id, step_id = self._superseded()
        with transition(run_id) as t:
            row = locking.read_step(t, step_id)
            assert row is not None
            attempt = attempt_of(row, t.run, work, "wrkr_1")
        with pytest.raises(EntityConflictError, match="no longer current"):
            StepRuntime(attempt).set_attributes({"late": "1"})
        assert run_row(run_id).attributes == {}
