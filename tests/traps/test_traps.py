"""Traps of Python and Django that must not catch the library."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase
from django.utils import timezone, translation

from django_workflows import api
from django_workflows.exceptions import InAtomicBlockError, PayloadTooLargeError, RunFailedError, SerializationError
from django_workflows.models import Event, Run
from django_workflows.testing import run_workflow
from tests.support.runs import add_hook, started_run, transition
from tests.traps import bodies


class TestErrorsThatAreTrouble:
    """An exception that cannot be encoded, shown or rebuilt ends as a typed failure and not as a crash loop."""

    pytestmark = pytest.mark.django_db

    @pytest.mark.parametrize("kind", ["rebuilt", "encoded", "shown", "read", "group", "unicode"])
    def test_out_of_a_step_it_fails_the_step_and_can_be_caught(self, kind: str) -> None:
        assert run_workflow(bodies.catching, kind)

    @pytest.mark.parametrize("kind", ["rebuilt", "encoded", "shown", "read", "group", "unicode"])
    @pytest.mark.parametrize("definition", [bodies.passing_on, bodies.raising_itself], ids=["step", "body"])
    def test_out_of_the_body_it_fails_the_run(self, kind: str, definition: Any) -> None:
        with pytest.raises(RunFailedError) as failed:
            run_workflow(definition, kind)
        assert failed.value.error_type


class TestValues:
    pytestmark = pytest.mark.django_db

    @pytest.mark.parametrize(
        "value",
        [
            "a\x00b",
            "\ud800 lone",
            10**400,
            -0.0,
            1e308,
            float("inf"),
            "é" * 1000,
            {"$": "datetime"},
            {"": None},
            [[]] * 50,
        ],
        ids=[
            "nul",
            "surrogate",
            "huge",
            "minus-zero",
            "float",
            "infinity",
            "accents",
            "looks-tagged",
            "empty-key",
            "nested",
        ],
    )
    def test_they_come_back_as_they_went(self, value: Any) -> None:
        found = run_workflow(bodies.echoing, value)
        assert found == value
        assert math.copysign(1, found) == math.copysign(1, value) if isinstance(value, float) else True

    def test_not_a_number_stays_none(self) -> None:
        assert math.isnan(run_workflow(bodies.echoing, float("nan")))

    def test_five_megabytes_pass(self) -> None:
        assert run_workflow(bodies.too_big, 5_000_000) == 5_000_000

    def test_a_result_that_is_too_large_fails_the_step_and_not_the_worker(self, settings: Any) -> None:
        settings.DJANGO_WORKFLOWS = {"MAX_PAYLOAD_BYTES": 10_000}
        with pytest.raises(RunFailedError) as failed:
            run_workflow(bodies.too_big, 50_000)
        assert isinstance(failed.value.__cause__, PayloadTooLargeError) or "bytes" in str(failed.value)

    def test_what_cannot_be_stored_is_refused_with_its_path(self) -> None:
        with pytest.raises(SerializationError) as refused:
            bodies.echoing.start([1, {"a": object()}])
        assert refused.value.path.startswith("args[0][1]")
        assert not Run.objects.exists()


class TestAmbientState:
    pytestmark = pytest.mark.django_db

    def test_language_and_time_zone_of_a_request_do_not_leak_into_a_run(self) -> None:
        with translation.override("de"), timezone.override("Asia/Tokyo"):
            leaked = run_workflow(bodies.ambient)
        assert leaked == run_workflow(bodies.ambient)
        assert leaked[0] == ["en", "UTC"]


class TestTransactions:
    @pytest.mark.django_db(transaction=True)
    def test_result_inside_atomic_raises_instead_of_waiting_for_itself(self) -> None:
        with transaction.atomic():
            run = bodies.echoing.start(1)
            with pytest.raises(InAtomicBlockError):
                run.result(timeout=1)

    @pytest.mark.django_db(transaction=True)
    def test_a_rolled_back_request_started_nothing(self) -> None:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            run_id = bodies.echoing.start(1).id
            assert Run.objects.filter(pk=run_id).exists()
            raise ZeroDivisionError
        assert not Event.objects.exists()

    @pytest.mark.django_db(transaction=True)
    def test_a_refused_action_does_not_spoil_an_atomic_request(self) -> None:
        """``ATOMIC_REQUESTS``: the view catches the error and continues with its own queries."""
        completed = started_run()
        api.cancel_run(completed, force=True)
        from django_workflows.exceptions import WorkflowError

        with transaction.atomic():
            for act in (
                lambda: api.resume_hook("none", 1),
                lambda: api.wake_run(completed),
                lambda: api.wake_run("wrun_none"),
                lambda: api.unblock_run(completed),
                lambda: api.dispose_hook("none"),
                lambda: api.cancel_run("wrun_none"),
                lambda: bodies.echoing.start(object()),
            ):
                with pytest.raises(WorkflowError):
                    act()
            assert Run.objects.count() == 1

    @pytest.mark.django_db(transaction=True)
    def test_an_async_view_may_resume_and_wait(self) -> None:
        run_id = started_run()
        with transition(run_id) as t:
            add_hook(t, "token")

        async def view() -> str:
            event = await api.aresume_hook("token", {"a": 1})
            with pytest.raises(TimeoutError):
                await (await api.aget_run(run_id)).aresult(timeout=0.05)
            return event.type

        assert asyncio.run(view()) == "hook_received"


class UnderTestCase(TestCase):
    """One connection, no commit."""

    def test_a_run_goes_through_and_vanishes_with_the_test(self) -> None:
        self.assertEqual(run_workflow(bodies.echoing, {"a": (1, 2)}), {"a": (1, 2)})
        self.assertTrue(connection.in_atomic_block)


class UnderTransactionTestCase(TransactionTestCase):
    def test_a_run_goes_through(self) -> None:
        self.assertEqual(run_workflow(bodies.echoing, 5), 5)
