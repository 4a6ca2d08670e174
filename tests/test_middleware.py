"""What is captured at the start reaches every attempt: inherited, in order, and with errors where they belong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from django_workflows import RunFailedError, SerializationError, api
from django_workflows.deploys import checks
from django_workflows.models import Event, Run
from django_workflows.testing import Workflows
from tests.observers import layers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sqlite]

GERMAN = [["de", "req-1"], ["de", "req-1"]]


@pytest.fixture
def install(settings: Any) -> Any:
    def install(*names: str) -> None:
        paths = [f"tests.observers.layers.{name}" for name in names]
        settings.DJANGO_WORKFLOWS = {**settings.DJANGO_WORKFLOWS, "MIDDLEWARE": paths}

    return install


@pytest.fixture
def german_request(install: Any) -> Iterator[None]:
    """Runs are started in German, by a request."""
    install("Language", "RequestId")
    layers.SEEN.clear()
    token = layers.request_id.set("req-1")
    with translation.override("de"):
        yield
    layers.request_id.reset(token)


def later(workflows: Workflows, run: Any) -> Any:
    """The result, asked for by another request, in another language."""
    token = layers.request_id.set("req-2")
    try:
        with translation.override("fr"):
            return workflows.result(run)
    finally:
        layers.request_id.reset(token)


class TestContext:
    def test_reaches_def_and_async_steps(self, german_request: None, workflows: Workflows) -> None:
        assert later(workflows, layers.asks.start()) == GERMAN
        created = Event.objects.get(type="run_created")
        assert created.payload["context"] == {"language": "de", "request_id": "req-1"}

    def test_the_first_is_outermost(self, german_request: None, workflows: Workflows) -> None:
        later(workflows, layers.goes_on.start(1))
        assert layers.SEEN == [("language", 1), ("request_id", 1), "/request_id", "/language"]

    def test_is_inherited_by_children(self, german_request: None, workflows: Workflows) -> None:
        assert later(workflows, layers.starts_a_child.start()) == GERMAN

    def test_is_inherited_by_continuations(self, german_request: None, workflows: Workflows) -> None:
        successor = later(workflows, layers.goes_on.start())["continued_as"]
        assert later(workflows, successor) == ["de", "req-1"]

    def test_is_inherited_by_forks(self, german_request: None, workflows: Workflows) -> None:
        run = layers.asks.start()
        later(workflows, run)
        with translation.override("fr"):
            fork = api.fork_run(run.id)
        assert later(workflows, fork) == GERMAN

    def test_is_inherited_by_the_runs_of_a_schedule(self, german_request: None, workflows: Workflows) -> None:
        schedule = api.create_schedule("hourly", layers.asks, cron="0 * * * *")
        with translation.override("fr"):
            run = schedule.trigger()
        assert later(workflows, run) == GERMAN

    def test_is_shared_by_many_that_start_at_once(self, german_request: None, workflows: Workflows) -> None:
        handles = layers.asks.start_many([((), {}), ((), {})])
        assert [later(workflows, run) for run in handles] == [GERMAN, GERMAN]

    def test_survives_a_retry_of_the_run(self, install: Any, workflows: Workflows) -> None:
        install("Language", "Swallows")
        with translation.override("de"):
            run = layers.is_refused.start()
        with pytest.raises(RunFailedError):
            later(workflows, run)
        api.retry_run(run.id)
        with pytest.raises(RunFailedError):
            later(workflows, run)


class TestErrors:
    def test_in_capture_fail_the_start(self, install: Any) -> None:
        install("CaptureFails")
        with pytest.raises(LookupError, match="no tenant here"):
            layers.asks.start()
        assert not Run.objects.exists()

    def test_what_cannot_be_stored_fails_the_start(self, install: Any) -> None:
        install("CapturesAnObject")
        with pytest.raises(SerializationError) as caught:
            layers.asks.start()
        assert "captured by the middleware" in caught.value.__notes__[-1]

    def test_what_is_no_dict_fails_the_start(self, install: Any) -> None:
        install("CapturesNoDict")
        with pytest.raises(TypeError, match=r"CapturesNoDict.capture\(\) must return a dict, not list"):
            layers.asks.start()

    def test_in_step_are_the_attempts_failure_and_retried(self, install: Any, workflows: Workflows) -> None:
        install("StepFails")
        workflows.run(layers.goes_on, 1)
        retried = Event.objects.get(type="step_retrying").payload["error"]
        assert (retried["type"], retried["message"]) == ("ConnectionError", "the tenant's schema is away")

    def test_a_swallowed_exception_fails_the_step_all_the_same(self, install: Any, workflows: Workflows) -> None:
        install("Swallows")
        with pytest.raises(RunFailedError, match="no"):
            workflows.run(layers.is_refused)

    @pytest.mark.parametrize("name", ["Missing", "ask", "CannotBeMade", "AttemptInfo"])
    def test_an_entry_that_cannot_be_used_is_a_check_and_refuses_to_start(self, install: Any, name: str) -> None:
        assert checks.check_middleware() == []
        install(name)
        assert [message.id for message in checks.check_middleware()] == ["django_workflows.E009"]
        with pytest.raises(ImproperlyConfigured, match=name):
            layers.asks.start()


def test_without_middleware_no_statement_is_added(workflows: Workflows) -> None:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        run = layers.starts_a_child.start()
        workflows.result(run)
    asked = [query["sql"] for query in queries if '"sequence" = 1' in query["sql"]]
    assert asked == []
    assert all("context" not in event.payload for event in Event.objects.filter(type="run_created"))
