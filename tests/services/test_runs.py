"""The life of a run, its waits, hooks and attributes."""

from __future__ import annotations

from asyncio import CancelledError
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from django_workflows import api
from django_workflows.eventlog import events
from django_workflows.eventlog.commands import CompleteRun, FailRun
from django_workflows.exceptions import (
    EntityConflictError,
    FenceConflictError,
    HookNotFoundError,
    PayloadTooLargeError,
    RunNotActiveError,
    RunNotFoundError,
    RunTimeoutError,
)
from django_workflows.models import Event, Hook, Outbox, Run, Step, Wait
from django_workflows.serialization import Encoded, decode_error, dumps, encode_error
from django_workflows.services import attributes, creation, hooks, runs, waits
from django_workflows.services.creation import NewRun
from django_workflows.store import locking
from django_workflows.store.event_log import append
from django_workflows.upkeep import retention
from tests.support.runs import (
    INPUT,
    UNKNOWN,
    add_hook,
    add_step,
    add_wait,
    end,
    new_run,
    run_row,
    running_step,
    started_run,
    transition,
    types,
)

pytestmark = pytest.mark.django_db(transaction=True)


class TestCreateRuns:
    def test_a_run_and_its_first_event_come_together(self) -> None:
        run_id = new_run(attributes={"a": "b"}, priority=3)
        event = Event.objects.get(run_id=run_id)
        row = run_row(run_id)
        assert (event.sequence, event.type, row.last_sequence, row.status) == (1, "run_created", 1, "pending")
        assert event.payload["seed"] == row.seed
        assert event.created_at == row.created_at == row.last_event_at

    def test_they_vanish_with_the_callers_transaction(self) -> None:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            new_run()
            raise ZeroDivisionError
        assert not Run.objects.exists()

    def test_the_same_key_gives_the_same_run(self) -> None:
        assert new_run(idempotency_key="k") == new_run(idempotency_key="k")
        assert Run.objects.count() == Event.objects.count() == 1

    def test_the_same_key_with_other_arguments_is_a_conflict_and_spoils_nothing(self) -> None:
        new_run(idempotency_key="k")
        with transaction.atomic():
            with pytest.raises(EntityConflictError) as caught:
                new_run(idempotency_key="k", input=Encoded('{"args":[2],"kwargs":{}}'))
            assert type(caught.value).code == "entity_conflict"
            new_run()
        assert Run.objects.count() == 2

    def test_many_are_created_all_or_not_at_all(self) -> None:
        new_run(idempotency_key="k")
        plain = NewRun(workflow=UNKNOWN, input=INPUT, queue="default")
        taken = NewRun(
            workflow=UNKNOWN, input=Encoded('{"args":[2],"kwargs":{}}'), queue="default", idempotency_key="k"
        )
        with pytest.raises(EntityConflictError):
            creation.create_runs([plain, taken])
        assert Run.objects.count() == 1


class TestStartRun:
    def test_it_starts_once(self) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            runs.start_run(t, "wrkr_2", "v2")
        assert types(run_id) == ["run_created", "run_started"]
        assert run_row(run_id).code_version == "v1"


class TestRequestCancel:
    def test_a_run_that_no_worker_has_advanced_ends_at_once(self) -> None:
        run_id = new_run()
        api.cancel_run(run_id, "changed my mind")
        row = run_row(run_id)
        assert (row.status, row.wake_at, row.error_code) == ("cancelled", None, "run_cancelled")
        assert types(run_id) == ["run_created", "run_cancel_requested", "run_cancelled"]
        assert Event.objects.get(run_id=run_id, type="run_cancelled").payload["reason"] == "changed my mind"

    def test_a_second_request_is_silent(self) -> None:
        run_id = started_run()
        for _ in range(2):
            api.cancel_run(run_id, "enough")
        assert types(run_id).count("run_cancel_requested") == 1

    def test_force_ends_the_run_and_closes_everything(self) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            add_step(t, 1)
            add_wait(t)
            add_hook(t, "token")
        running = running_step(run_id, "wrkr_1")
        api.cancel_run(run_id, "enough", force=True)
        row = run_row(run_id)
        assert (row.status, row.wake_at, row.error_code) == ("cancelled", None, "run_cancelled")
        assert types(run_id)[-2:] == ["run_cancel_requested", "run_cancelled"]
        assert Step.objects.get(correlation_id="step:work:1").status == "cancelled"
        assert Step.objects.get(pk=running.id).status == "running"
        assert Wait.objects.get().status == "cancelled"
        assert Hook.objects.get().disposed_at == row.completed_at

    def test_a_cancelled_run_is_cancelled_again_in_silence_and_a_completed_one_refuses(self) -> None:
        cancelled, completed = started_run(), started_run()
        api.cancel_run(cancelled, force=True)
        api.cancel_run(cancelled)
        with transition(completed) as t:
            end(t)
        with pytest.raises(RunNotActiveError):
            api.cancel_run(completed)
        assert types(cancelled)[-1] == "run_cancelled"

    def test_the_reason_of_the_first_request_is_the_runs(self) -> None:
        run_id = started_run()
        api.cancel_run(run_id, "first")
        with transition(run_id) as t:
            runs.end_run(t, CompleteRun("", output=dumps("ignored")))
        event = Event.objects.get(run_id=run_id, type="run_cancelled")
        assert (event.payload["reason"], event.payload["output"]) == ("first", "ignored")

    def test_an_unknown_run_is_said_to_be_unknown(self) -> None:
        with pytest.raises(RunNotFoundError):
            api.cancel_run("wrun_none")


class TestEndRun:
    def test_after_its_deadline_a_run_fails_whatever_its_body_returned(self) -> None:
        run_id = started_run(timeout=timedelta(seconds=0))
        with transition(run_id) as t:
            runs.time_out_run(t)
        with transition(run_id) as t:
            runs.end_run(t, CompleteRun("", output=dumps(1)))
        row = run_row(run_id)
        assert (row.status, row.error_code) == ("failed", "run_timeout")
        assert row.error["type"] == "django_workflows.exceptions.RunTimeoutError"
        error = decode_error(row.error)
        assert isinstance(error, RunTimeoutError)
        assert (error.limit, error.deadline_at) == (timedelta(0), row.deadline_at)
        assert error.__cause__ is None

    @pytest.mark.parametrize(("left", "cause"), [(CancelledError("told"), None), (KeyError("k"), KeyError)])
    def test_what_left_the_body_after_its_deadline_is_the_cause_unless_it_was_told_so(
        self, left: BaseException, cause: type[BaseException] | None
    ) -> None:
        run_id = started_run(timeout=timedelta(seconds=0))
        with transition(run_id) as t:
            runs.time_out_run(t)
            runs.end_run(t, FailRun("", error=encode_error(left), error_code="user_error"))
        error = decode_error(run_row(run_id).error)
        assert isinstance(error, RunTimeoutError)
        assert error.__cause__ is None if cause is None else isinstance(error.__cause__, cause)

    def test_the_grace_of_a_cancelled_body_has_an_end(self, settings: Any) -> None:
        settings.DJANGO_WORKFLOWS = {"CANCEL_GRACE": 0}
        run_id = started_run()
        api.cancel_run(run_id)
        with transition(run_id) as t:
            assert runs.end_overdue_run(t)
        assert run_row(run_id).status == "cancelled"

    def test_the_message_to_its_parent_is_written_in_the_same_transaction(self) -> None:
        parent = started_run()
        child = started_run(parent_id=parent, parent_correlation_id="child:1")
        with pytest.raises(ZeroDivisionError), transition(child) as t:
            end(t)
            raise ZeroDivisionError
        assert not Outbox.objects.exists()
        with transition(child) as t:
            end(t)
        assert Outbox.objects.get().target == parent


class TestAppend:
    def test_a_run_that_has_ended_takes_nothing_but_the_ends_of_its_steps(self) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            end(t)
        late = [events.StepCancelled(), events.WaitCompleted(False), events.HookReceived(1, None)]
        late += [events.RunCancelRequested(None, False), events.AttributesSet({}), events.RunStarted(None, "v")]
        for event in late:
            with pytest.raises(RunNotActiveError), transition(run_id) as t:
                append(t, event, "x:1")

    def test_a_writer_that_decided_on_an_old_log_is_refused(self) -> None:
        run_id = started_run()
        with pytest.raises(FenceConflictError) as caught, transition(run_id) as t:
            append(t, events.PatchRecorded("p"), "patch:p", expected_sequence=1)
        assert (caught.value.expected, caught.value.actual) == (1, 2)
        assert isinstance(caught.value, EntityConflictError)

    def test_an_event_is_never_earlier_than_the_one_before_it(self) -> None:
        run_id = started_run()
        future = run_row(run_id).last_event_at + timedelta(days=1)
        Run.objects.filter(pk=run_id).update(last_event_at=future)  # the database's clock was set back
        with transition(run_id) as t:
            add_step(t)
        assert Event.objects.get(run_id=run_id, type="step_created").created_at == future

    def test_what_is_too_large_is_refused(self, settings: Any) -> None:
        settings.DJANGO_WORKFLOWS = {"MAX_PAYLOAD_BYTES": 100}
        run_id = started_run()
        with pytest.raises(PayloadTooLargeError), transition(run_id) as t:
            append(t, events.PatchRecorded("p" * 10_000), "patch:p")
        assert types(run_id) == ["run_created", "run_started"]


class TestWaits:
    def test_only_what_is_due_completes_in_the_order_of_its_time(self) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            for number, seconds in ((1, 3600), (2, 20), (3, 10)):
                add_wait(t, number, seconds)
        with transition(run_id) as t:
            t.now += timedelta(seconds=30)
            assert waits.complete_due_waits(t) == 2
        completed = Event.objects.filter(type="wait_completed").order_by("sequence")
        assert list(completed.values_list("correlation_id", flat=True)) == ["wait:3", "wait:2"]

    def test_a_run_wakes_when_its_first_wait_is_due(self) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            add_wait(t, 1, 50)
            wait = add_wait(t, 2, 10)
            runs.set_wake(t, undelivered=False)
        assert run_row(run_id).wake_at == wait.due_at

    def test_waking_ends_waits_before_their_time_and_says_so(self) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            add_wait(t, 1)
            add_wait(t, 2)
        assert api.wake_run(run_id, "wait:2") == 1
        assert api.wake_run(run_id) == 1
        assert api.wake_run(run_id) == 0
        assert [e.payload["woken"] for e in Event.objects.filter(type="wait_completed")] == [True, True]


class TestHooks:
    def test_payloads_are_logged_in_their_order(self) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            add_hook(t, "token")
        for number in range(3):
            api.resume_hook("token", number)
        received = Event.objects.filter(type="hook_received").order_by("sequence")
        assert [event.payload["payload"] for event in received] == [0, 1, 2]
        assert Run.objects.due().filter(pk=run_id).exists()

    def test_a_repeated_key_gives_the_first_event_and_writes_nothing(self) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            add_hook(t, "token")
        first, second = (api.resume_hook("token", n, idempotency_key="k") for n in (1, 2))
        assert first.sequence == second.sequence
        assert second.payload["payload"] == 1
        assert types(run_id).count("hook_received") == 1

    @pytest.mark.parametrize("gone", ["unknown", "disposed", "ended"])
    def test_a_token_that_names_no_active_hook_is_not_found_and_nothing_is_written(self, gone: str) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            add_hook(t, "token")
        if gone == "disposed":
            api.dispose_hook("token")
        elif gone == "ended":
            with transition(run_id) as t:
                end(t)
        before = Event.objects.count()
        with pytest.raises(HookNotFoundError):
            api.resume_hook("other" if gone == "unknown" else "token", 1)
        assert Event.objects.count() == before

    def test_catching_it_leaves_the_callers_transaction_usable(self) -> None:
        with transaction.atomic():
            with pytest.raises(HookNotFoundError):
                api.resume_hook("unknown", 1)
            run_id = new_run()
        assert Run.objects.filter(pk=run_id).exists()

    def test_the_second_owner_of_a_token_is_a_conflict_that_names_the_first(self) -> None:
        owner, other = started_run(), started_run()
        for run_id in (owner, other):
            with transition(run_id) as t:
                add_hook(t, "token")
        assert types(owner)[-1] == "hook_created"
        conflict = Event.objects.get(run_id=other, type="hook_conflict")
        assert conflict.payload == {"token": "token", "owner": owner}
        assert not Hook.objects.filter(run_id=other).exists()

    def test_a_token_is_free_again_after_its_hook_or_its_run(self) -> None:
        first, second, third = started_run(), started_run(), started_run()
        with transition(first) as t:
            add_hook(t, "token")
            hooks.dispose_hook(t, "hook:1")
        with transition(second) as t:
            add_hook(t, "token")
            end(t)
        with transition(third) as t:
            add_hook(t, "token")
        assert Hook.objects.active().get().run_id == third
        assert all(types(run_id).count("hook_created") == 1 for run_id in (first, second, third))

    def test_resuming_joins_the_callers_transaction(self) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            add_hook(t, "token")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            api.resume_hook("token", 1)
            raise ZeroDivisionError
        assert "hook_received" not in types(run_id)


class TestAttributes:
    def test_none_removes_and_the_rest_is_merged(self) -> None:
        run_id = started_run(attributes={"a": "1", "b": "2"})
        with transition(run_id) as t:
            attributes.set_attributes(t, {"a": None, "c": "3"}, "attributes:1")
        assert run_row(run_id).attributes == {"b": "2", "c": "3"}

    def test_a_run_takes_at_most_64(self) -> None:
        run_id = started_run()
        with pytest.raises(ValueError, match="64"), transition(run_id) as t:
            attributes.set_attributes(t, {f"k{n}": "v" for n in range(65)}, "step:1")


class TestBlockRun:
    def test_a_parked_run_stays_running_and_its_log_untouched(self) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            runs.block_run(t, "does not fit", "v1")
        row = run_row(run_id)
        assert (row.status, row.blocked_reason, row.last_sequence) == ("running", "does not fit", 2)
        assert Run.objects.blocked().get() == row

    def test_the_pause_grows_with_each_try_and_ends_with_success(self) -> None:
        run_id = started_run()
        pauses: list[timedelta] = []
        for _ in range(3):
            with transition(run_id) as t:
                runs.block_run(t, "does not fit", "v1")
                assert t.run.blocked_until is not None
                pauses.append(t.run.blocked_until - t.now)
        assert pauses == sorted(set(pauses))
        with transition(run_id) as t:
            runs.clear_block(t)
        assert not Run.objects.blocked().exists()

    def test_it_can_be_tried_again_now_on_request(self) -> None:
        run_id = started_run()
        with pytest.raises(EntityConflictError):
            api.unblock_run(run_id)
        with transition(run_id) as t:
            runs.block_run(t, "does not fit", "v1")
        api.unblock_run(run_id)
        assert run_row(run_id).blocked_until is None


class TestPrune:
    def test_ended_runs_are_kept_for_90_days_unless_the_project_says_otherwise(self, settings: Any) -> None:
        settings.DJANGO_WORKFLOWS = {}
        usual = started_run()
        with transition(usual) as t:
            end(t)
        row = run_row(usual)
        assert row.expires_at - row.completed_at == timedelta(days=90)
        settings.DJANGO_WORKFLOWS = {"RETENTION": None}
        kept = started_run()
        with transition(kept) as t:
            end(t)
        assert run_row(kept).expires_at is None

    def test_only_ended_runs_whose_time_has_come_are_removed(self, settings: Any) -> None:
        settings.DJANGO_WORKFLOWS = {"RETENTION": 0}
        gone, kept = started_run(), started_run()
        with transition(gone) as t:
            add_step(t)
            add_wait(t)
            add_hook(t, "token")
            runs.end_run(t, FailRun("", error=encode_error(ValueError()), error_code="user_error"))
        assert retention.prune() == 1
        assert list(Run.objects.values_list("pk", flat=True)) == [kept]
        assert not Step.objects.exists()
        assert not Hook.objects.exists()

    def test_a_child_whose_parent_is_not_notified_yet_stays(self, settings: Any) -> None:
        settings.DJANGO_WORKFLOWS = {"RETENTION": 0}
        parent = started_run()
        child = started_run(parent_id=parent, parent_correlation_id="child:1")
        with transition(child) as t:
            end(t)
        assert retention.prune() == 0
        assert Run.objects.filter(pk=child).exists()


def test_runs_that_do_not_exist_are_left_out_of_a_batch() -> None:
    run_id = new_run()
    with transaction.atomic():
        assert [t.run.id for t in locking.lock_runs([run_id, "wrun_none"])] == [run_id]
