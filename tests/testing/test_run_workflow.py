"""``run_workflow`` and the fixture: the production code in the test's own process."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.test import TestCase, TransactionTestCase
from django.urls import reverse
from django.utils import timezone

from django_workflows import RunFailedError, step, workflow
from django_workflows.models import Event, Run
from django_workflows.testing import StillWaitingError, Workflows, assert_replays, mock_step, run_workflow
from django_workflows.values import clock
from tests.shop.models import Ledger, Order

from . import work

if TYPE_CHECKING:
    from django_workflows.testing import Workflows as Fixture

pytestmark = pytest.mark.sqlite


class Behaviour:
    """The same tests with and without a transaction around each."""

    def test_gives_the_value_and_leaves_the_rows(self) -> None:
        assert run_workflow(work.simple, 41) == "ch_41"
        run = Run.objects.get()
        assert run.status == "completed"
        assert run.output == "ch_41"
        assert list(run.events.values_list("type", flat=True))[-1] == "run_completed"

    def test_sleeps_do_not_wait(self) -> None:
        began = time.monotonic()
        days = run_workflow(work.sleepy)
        assert 3.0006 < days < 3.01
        assert time.monotonic() - began < 60

    def test_retries_do_not_wait(self) -> None:
        assert run_workflow(work.retrying) == 3
        retries = Event.objects.filter(type="step_retrying")
        assert [event.payload["attempt"] for event in retries.order_by("sequence")] == [1, 2]

    def test_def_and_async_def_steps_use_the_tests_own_connection(self) -> None:
        run_workflow(work.both)
        assert sorted(Ledger.objects.values_list("key", flat=True)) == ["a", "b"]

    def test_an_async_step_sees_what_the_test_has_not_committed(self) -> None:
        @workflow(name="kit.sees")
        async def sees() -> int:
            return await work.count_async()

        Ledger.objects.create(key="the test's")
        assert run_workflow(sees) == 1

    def test_a_failed_statement_spoils_nothing_after_it(self) -> None:
        @workflow(name="kit.catching")
        async def catching() -> int:
            return await work.catches()

        assert run_workflow(catching) == 3
        assert Order.objects.count() == 3

    def test_a_step_whose_statement_fails_does_not_spoil_the_test(self) -> None:
        @step(name="kit.breaks", max_retries=0)
        def breaks() -> None:
            Order.objects.create(pk=1)
            Order.objects.create(pk=1)

        @workflow(name="kit.breaking")
        async def breaking() -> None:
            await breaks()

        with pytest.raises(RunFailedError) as caught:
            run_workflow(breaking)
        assert caught.value.error_type.endswith("IntegrityError")
        assert Order.objects.count() == 1  # as in autocommit: the first statement stays

    def test_on_commit_callbacks_of_steps_are_called(self) -> None:
        @workflow(name="kit.committing")
        async def committing() -> None:
            await work.commit_hook("sent")

        work.called.clear()
        run_workflow(committing)
        assert work.called == ["sent"]

    def test_a_failure_has_its_cause(self) -> None:
        failing = mock_step(work.charge, side_effect=[ValueError("no such order")] * 9)
        with failing, pytest.raises(RunFailedError) as caught:
            run_workflow(work.simple, 41)
        assert isinstance(caught.value.__cause__, ValueError)

    def test_a_run_that_waits_for_a_hook_says_so(self) -> None:
        with pytest.raises(StillWaitingError, match=r"waits for the hook 'packed:1' \(workflows.resume"):
            run_workflow(work.for_ever, "packed:1")

    def test_children_run_too(self) -> None:
        assert run_workflow(work.parent) == ["ch_0", "ch_1", "ch_2"]

    def test_the_clock_is_put_back(self) -> None:
        run_workflow(work.sleepy)
        assert not clock.offset()
        assert abs((timezone.now() - clock.now()).total_seconds()) < 60

    def test_waiting_in_the_code_under_test_drives_the_run(self) -> None:
        with Workflows():
            assert work.sleepy.start().result(timeout="4d") > 3
            with pytest.raises(TimeoutError):
                work.sleepy.start().result(timeout="2d")

    def test_streams_are_written_and_read(self) -> None:
        with Workflows() as workflows:
            run = workflows.start(work.streaming)
            assert list(run.stream()) == [3, 4, 0, 1, 2]
            assert run.status() == "running"
            assert list(run.stream("other", timeout="2h")) == []  # the run has ended

    def test_callers_of_webhooks_get_their_answers(self) -> None:
        with self.settings(DJANGO_WORKFLOWS={"BASE_URL": "http://testserver"}), Workflows() as workflows:
            run = workflows.start(work.answering, "in:1")
            workflows.run_until_idle()
            url = reverse("django_workflows:webhook", args=["in:1"])
            before = workflows.now()
            first = self.client.post(url, {"a": 1}, content_type="application/json")
            assert (first.status_code, first.json()) == (201, {"got": {"a": 1}})
            assert self.client.post(url).content == b"again"
            assert workflows.now() - before < timedelta(seconds=20)
            assert self.client.post(url).status_code == 504  # the third one is never answered
            assert workflows.now() - before > timedelta(seconds=29)
            assert run.result() == "done"

    async def test_async_tests_have_a_twin(self) -> None:
        from django_workflows.testing import arun_workflow

        await Ledger.objects.acreate(key="x")
        assert len(await arun_workflow(work.both)) == 2
        assert await Ledger.objects.acount() == 3


class TestInATransaction(Behaviour, TestCase):
    pass


class TestWithRealCommits(Behaviour, TransactionTestCase):
    pass


class TestFixture:
    def test_time_passes_when_the_test_says_so(self, workflows: Fixture) -> None:
        run = workflows.start(work.waiting, "packed:5")
        workflows.advance("2d")
        assert run.status() == "running"
        workflows.advance("2d")
        assert run.status() == "completed"
        assert run.result() == "refunded"

    def test_a_hook_is_resumed(self, workflows: Fixture) -> None:
        run = workflows.start(work.waiting, "packed:5")
        workflows.resume("packed:5", {"box": "B7"})
        assert run.result() == "B7"
        assert workflows.history(run) == [
            "run_created",
            "run_started",
            "hook_created hook:1",
            "wait_created wait:1",
            "hook_received hook:1",
            "run_completed",
        ]

    def test_open_hooks_can_be_looked_up(self, workflows: Fixture) -> None:
        run = workflows.start(work.for_ever, "packed:5")
        workflows.run_until_idle()
        assert [hook.token for hook in workflows.hooks(run)] == ["packed:5"]

    def test_a_crash_loses_nothing(self, workflows: Fixture) -> None:
        run = workflows.start(work.waiting, "packed:5")
        workflows.run_until_idle()
        workflows.crash()
        workflows.resume("packed:5", {"box": "B7"})
        assert workflows.result(run) == "B7"
        assert_replays(run)

    def test_django_goes_by_the_same_clock(self, workflows: Fixture) -> None:
        before = timezone.now()
        workflows.advance("1d")
        assert (timezone.now() - before).days == 1
        assert (workflows.now() - before).days == 1

    def test_a_mocked_step_takes_its_time(self, workflows: Fixture) -> None:
        with mock_step(work.slow, return_value="late", takes="2h") as slow:
            assert workflows.run(work.raced) == "timer"
            slow.assert_not_called()
        with mock_step(work.slow, return_value="soon", takes="10m"):
            assert workflows.run(work.raced) == "soon"

    def test_a_mocked_step_runs_into_its_timeout(self, workflows: Fixture) -> None:
        with mock_step(work.slow, takes="2h"), pytest.raises(RunFailedError) as caught:
            workflows.run(work.timed)
        assert isinstance(caught.value.__cause__, TimeoutError)

    def test_a_mock_has_the_steps_signature(self, workflows: Fixture) -> None:
        with mock_step(work.charge, return_value="ch_x") as charge:
            assert workflows.run(work.simple, 3) == "ch_x"
        charge.assert_called_once_with(3)
        with mock_step("kit.write_async", return_value=7) as write:
            workflows.run(work.both)
        write.assert_called_once_with("b")
