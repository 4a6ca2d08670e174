"""The project's own log lines: which run and step they belong to, and a body's lines once."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import pytest

from django_workflows import api
from django_workflows.logs import ATTRIBUTES, ContextFilter, silence_replays
from django_workflows.models import Run
from django_workflows.testing import Workflows, assert_replays
from tests.observers import bodies

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sqlite]

ALL = ["begun", "greeted", "slept", "answered", "done", "cleaned up"]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "shop.orders" and "step" not in record.getMessage()
    ]


@pytest.fixture
def filtered(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.INFO, "shop.orders")
    added = ContextFilter()
    caplog.handler.addFilter(added)
    yield lambda text: next(record for record in caplog.records if record.getMessage() == text)
    caplog.handler.removeFilter(added)


class TestContextFilter:
    def test_names_run_step_attempt_and_worker_in_a_step(self, filtered: Any, workflows: Workflows) -> None:
        workflows.run(bodies.greets, "ann")
        run, record = Run.objects.get(), filtered("in the step")
        step = run.steps.get()
        assert [getattr(record, name) for name in ATTRIBUTES] == [
            run.pk, run.workflow, step.name, step.pk, 1, "default", step.worker_id,
        ]  # fmt: skip

    def test_works_in_async_steps(self, filtered: Any, workflows: Workflows) -> None:
        workflows.run(bodies.greets_async)
        assert filtered("in the async step").run_id == Run.objects.get().pk

    def test_names_the_run_in_a_body(self, filtered: Any, workflows: Workflows) -> None:
        workflows.run(bodies.greets, "ann")
        record = filtered("in the body")
        assert (record.run_id, record.workflow) == (Run.objects.get().pk, "tests.observers.bodies.greets")
        assert (record.step, record.attempt) == ("", "")

    def test_is_empty_elsewhere_and_keeps_what_is_there(self, filtered: Any) -> None:
        bodies.logger.info("outside", extra={"run_id": "mine"})
        record = filtered("outside")
        assert (record.run_id, record.workflow) == ("mine", "")


class TestBodiesLines:
    def drive(self, workflows: Workflows) -> None:
        workflows.start(bodies.chats)
        workflows.run_until_idle()
        workflows.advance(600)
        api.resume_hook("chat", "hello")
        workflows.run_until_idle()
        workflows.advance(600)
        assert Run.objects.get().status == "completed"

    def test_are_emitted_once_with_a_cached_body(self, workflows: Workflows, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "shop.orders")
        self.drive(workflows)
        assert said(caplog) == ALL

    def test_are_emitted_once_when_every_turn_replays_from_the_first_event(
        self, workflows: Workflows, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "shop.orders")
        workflows.driver.forgetful = True
        self.drive(workflows)
        assert said(caplog) == ALL

    def test_are_emitted_once_when_the_worker_dies_again_and_again(
        self, workflows: Workflows, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "shop.orders")
        commits = itertools.count()
        workflows.driver.crashes = lambda place, step: place == "after a commit" and next(commits) % 3 == 2
        self.drive(workflows)
        assert said(caplog) == ALL

    def test_are_silent_in_twenty_replays(self, workflows: Workflows, caplog: pytest.LogCaptureFixture) -> None:
        self.drive(workflows)
        caplog.set_level(logging.INFO, "shop.orders")
        caplog.clear()
        for _ in range(20):
            assert_replays(Run.objects.get().pk)
        assert said(caplog) == []


def test_the_factory_of_records_is_wrapped_once() -> None:
    factory = logging.getLogRecordFactory()
    silence_replays()
    assert logging.getLogRecordFactory() is factory
