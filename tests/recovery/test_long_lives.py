"""Runs that live long: continue_as_new, the limit of a log, retention, pruning, erasure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from django_workflows import EntityConflictError, RunFailedError, api
from django_workflows.models import Event, Hook, Outbox, Run, Step, Wait
from django_workflows.upkeep import erasure, retention
from tests.recovery import bodies
from tests.recovery.bodies import World
from tests.recovery.conftest import Work

pytestmark = pytest.mark.sqlite


class TestContinueAsNew:
    def test_hands_over_to_a_run_with_an_empty_log(self, work: Work, world: World) -> None:
        run = bodies.counter.using(queue="slow", priority=7, attributes={"customer": "c1"}).start(1, 3)
        work()

        first, second, third = Run.objects.order_by("pk")
        assert run.result(timeout=0) == {"continued_as": second.id}
        assert [second.continued_from, third.continued_from] == [first.id, second.id]
        assert (third.output, third.status) == (3, "completed")
        assert world.done() == [1, 2, 3]
        assert (third.queue, third.priority, third.input["args"]) == ("slow", 7, [3, 3])
        assert third.attributes == {"customer": "c1", "lap": "3"}
        assert third.last_sequence == first.last_sequence

    def test_gives_every_one_of_them_the_whole_timeout(self, work: Work) -> None:
        bodies.counter.start(1, 4)
        work()
        for run in Run.objects.all():
            assert run.deadline_at is not None
            assert run.deadline_at - run.created_at == timedelta(hours=2)

    def test_of_a_child_the_parent_gets_the_last_result(self, work: Work) -> None:
        run = bodies.parent_of_counter.start(3)
        work()
        assert run.result(timeout=0) == 3
        assert Run.objects.filter(parent_id=run.id).count() == 3

    def test_of_a_child_that_fails_at_last_fails_the_parent_and_both_are_retried(
        self, work: Work, world: World
    ) -> None:
        world.broken = {2}
        run = bodies.parent_of_counter.start(3)
        work()
        with pytest.raises(RunFailedError):
            run.result(timeout=0)
        world.broken = set()

        api.retry_run(run.id)
        work()

        assert run.result(timeout=0) == 3
        assert world.done() == [1, 2, 2, 3]

    def test_after_a_cancel_request_there_is_no_successor(self, work: Work, world: World) -> None:
        run = bodies.stubborn_counter.start(1)
        work()
        api.cancel_run(run.id)
        work()
        assert run.status() == "cancelled"
        assert Run.objects.count() == 1


class TestMaxEvents:
    def test_a_log_that_grows_without_end_fails_its_run(self, work: Work, settings: Any) -> None:
        settings.DJANGO_WORKFLOWS = {"MAX_EVENTS_PER_RUN": 50}
        run = bodies.endless.start()
        work()
        row = Run.objects.get(pk=run.id)
        assert (row.status, row.error_code) == ("failed", "max_events_exceeded")
        assert 50 < row.last_sequence <= 53
        assert "continue_as_new" in row.error["message"]

    def test_unread_payloads_count_too(self, work: Work, settings: Any) -> None:
        settings.DJANGO_WORKFLOWS = {"MAX_EVENTS_PER_RUN": 40}
        run = bodies.hooked_behind.start("flood")
        work()
        for number in range(60):
            api.resume_hook("flood", number)
        work()
        assert Run.objects.get(pk=run.id).error_code == "max_events_exceeded"
        assert not Hook.objects.active().exists()

    def test_a_body_that_is_done_at_the_limit_may_say_so(self, work: Work, settings: Any) -> None:
        run = bodies.three_steps.start()
        work()
        length = Run.objects.get(pk=run.id).last_sequence
        settings.DJANGO_WORKFLOWS = {"MAX_EVENTS_PER_RUN": length - 1}
        again = bodies.three_steps.start()
        work()
        assert again.result(timeout=0) == ["a", "b", "c"]

    def test_the_run_resumes_when_the_limit_is_raised_and_it_is_retried(self, work: Work, settings: Any) -> None:
        settings.DJANGO_WORKFLOWS = {"MAX_EVENTS_PER_RUN": 6}
        run = bodies.three_steps.start()
        work()
        assert run.status() == "failed"
        settings.DJANGO_WORKFLOWS = {"MAX_EVENTS_PER_RUN": 100}

        api.retry_run(run.id)
        work()

        assert run.result(timeout=0) == ["a", "b", "c"]


class TestPrune:
    def test_removes_ended_runs_whose_retention_is_over_and_nothing_else(self, work: Work, settings: Any) -> None:
        settings.DJANGO_WORKFLOWS = {"RETENTION": 3600}
        gone, kept, active = bodies.three_steps.start(), bodies.three_steps.start(), bodies.sleeper.start()
        work()
        Run.objects.filter(pk=gone.id).update(expires_at=Run.objects.get(pk=gone.id).completed_at)
        Run.objects.filter(pk=active.id).update(expires_at=Run.objects.get(pk=gone.id).completed_at)

        assert retention.prune() == 1

        assert set(Run.objects.values_list("pk", flat=True)) == {kept.id, active.id}
        for model in (Event, Step):
            assert not model.objects.filter(run_id=gone.id).exists()  # type: ignore[attr-defined]
        Run.objects.filter(pk=active.id).update(expires_at=None)

    def test_a_workflow_may_be_kept_longer_or_shorter_than_the_rest(self, work: Work, settings: Any) -> None:
        settings.DJANGO_WORKFLOWS = {"RETENTION": 7200}
        ids = [bodies.short_lived.start().id, bodies.three_steps.start().id]
        work()
        short, default = (Run.objects.get(pk=run_id) for run_id in ids)
        assert short.expires_at - short.completed_at == timedelta(hours=1)  # type: ignore[operator]
        assert default.expires_at - default.completed_at == timedelta(hours=2)  # type: ignore[operator]

    def test_without_a_retention_runs_are_kept_indefinitely(self, work: Work, settings: Any) -> None:
        settings.DJANGO_WORKFLOWS = {**settings.DJANGO_WORKFLOWS, "RETENTION": None}
        bodies.three_steps.start()
        work()
        assert Run.objects.get().expires_at is None
        assert retention.prune() == 0

    def test_takes_no_more_than_its_batch(self, work: Work) -> None:
        for _ in range(3):
            bodies.leaf.start(1)
        work()
        assert retention.prune(2, older_than=timedelta(0)) == 2
        assert retention.prune(2, older_than=timedelta(0)) == 1

    def test_takes_long_logs_alone(self, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention, "_MAX_EVENTS", 5)
        for _ in range(2):
            bodies.three_steps.start()
        work()
        assert retention.prune(older_than=timedelta(0)) == 1

    def test_by_age_and_workflow(self, work: Work) -> None:
        bodies.leaf.start(1)
        kept = bodies.three_steps.start()
        work()
        assert retention.prune(older_than=timedelta(days=1)) == 0
        assert retention.prune(older_than=timedelta(0), workflow=bodies.leaf.name) == 1
        assert [run.id for run in Run.objects.all()] == [kept.id]

    def test_leaves_a_run_whose_parent_is_not_notified_yet(self, work: Work) -> None:
        run = bodies.guardian.start()
        work()
        child = Run.objects.get(parent_id=run.id)
        api.cancel_run(child.id, force=True)
        assert Outbox.objects.exists()
        assert retention.prune(older_than=timedelta(0)) == 0

    def test_leaves_the_children_of_what_it_removes(self, work: Work) -> None:
        run = bodies.guardian.start(True)
        work()
        api.cancel_run(run.id)
        work()
        assert retention.prune(older_than=timedelta(0)) == 1
        child = Run.objects.get()
        assert (child.parent_id, child.status) == (None, "running")
        assert Wait.objects.count() == 1


class TestErase:
    def erased(self, **attributes: str) -> erasure.Erasure:
        return erasure.erase(attributes)

    def test_keeps_the_shape_of_the_log_and_nothing_of_its_contents(self, work: Work, world: World) -> None:
        world.broken = {"secret b"}
        run = bodies.confiding.using(attributes={"customer": "Ms. One"}).start("secret a", other="secret b")
        work()
        shape = list(Event.objects.order_by("sequence").values_list("sequence", "type", "correlation_id", "created_at"))

        assert self.erased(customer="Ms. One").erased == [run.id]

        events = Event.objects.order_by("sequence")
        assert list(events.values_list("sequence", "type", "correlation_id", "created_at")) == shape
        stored = [
            *events.values_list("data", flat=True),
            str(Run.objects.values().get()),
            str(list(Step.objects.values())),
        ]
        assert not [text for text in stored if "secret" in text or "Ms. One" in text]
        row = Run.objects.get()
        assert row.input == {"args": ["[erased]"], "kwargs": {"other": "[erased]"}}
        assert row.error["type"] == "tests.recovery.bodies.Refused"

    def test_leaves_other_runs_alone(self, work: Work) -> None:
        bodies.acting_leaf.using(attributes={"customer": "c1"}).start("x")
        other = bodies.acting_leaf.using(attributes={"customer": "c2"}).start("y")
        work()
        self.erased(customer="c1")
        assert other.result(timeout=0) == "y"

    def test_leaves_runs_that_go_on_and_says_so(self, work: Work) -> None:
        run = bodies.sleeper.using(attributes={"customer": "c1"}).start()
        work()
        found = self.erased(customer="c1")
        assert (found.erased, found.active) == ([], [run.id])
        assert Run.objects.get().attributes == {"customer": "c1"}

    def test_includes_what_the_run_started(self, work: Work) -> None:
        run = bodies.parent_of.using(attributes={"customer": "c1"}).start("secret")
        work()
        assert set(self.erased(customer="c1").erased) == set(Run.objects.values_list("pk", flat=True))
        assert not Event.objects.filter(data__contains="secret").exists()
        assert run.result(timeout=0) == "[erased]"

    def test_of_a_child_includes_the_copies_in_its_parents_log(self, work: Work) -> None:
        bodies.parent_tagging.start("secret")
        work()
        self.erased(customer="child")
        assert not Event.objects.filter(type__startswith="child_", data__contains="secret").exists()

    def test_keeps_a_parent_findable_while_its_child_has_not_ended(self, work: Work) -> None:
        run = bodies.guardian.using(attributes={"customer": "c1"}).start(True)
        work()
        api.cancel_run(run.id)
        work()
        child = Run.objects.get(parent_id=run.id)
        assert self.erased(customer="c1").erased == []

        api.cancel_run(child.id)
        work()

        assert set(self.erased(customer="c1").erased) == {run.id, child.id}

    def test_nothing_resumes_from_an_erased_run(self, work: Work, world: World) -> None:
        world.broken = {"x"}
        run = bodies.acting_leaf.using(attributes={"customer": "c1"}).start("x")
        work()
        self.erased(customer="c1")
        with pytest.raises(EntityConflictError, match="erased"):
            api.retry_run(run.id)
        with pytest.raises(EntityConflictError, match="erased"):
            api.fork_run(run.id)

    def test_needs_an_attribute(self) -> None:
        with pytest.raises(ValueError, match="every run"):
            erasure.erase({})

    def test_erasing_again_finds_nothing(self, work: Work) -> None:
        bodies.leaf.using(attributes={"customer": "c1"}).start(1)
        work()
        self.erased(customer="c1")
        assert self.erased(customer="c1").erased == []
