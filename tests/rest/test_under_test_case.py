"""The doors inside a test's transaction, with the testing kit: nothing is committed, and no other thread takes part."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from django_workflows import RunHandle
from django_workflows.models import Run
from django_workflows.testing import run_workflow

from . import flows

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("how", ["sync", "async", "atomic"])
def test_streams_are_written_and_read(how: str) -> None:
    values = list(range(300))
    run_workflow(flows.writer, values, how=how)
    assert list(RunHandle(Run.objects.get().pk).stream()) == values


def test_a_retried_attempt_appends_again() -> None:
    run_workflow(flows.writer, [], how="retry")
    assert list(RunHandle(Run.objects.get().pk).stream()) == ["attempt 1", "attempt 2"]


def test_a_webhook_is_delivered(client: Client, workflows: Any) -> None:
    run = workflows.start(flows.receiver, "t")
    workflows.run_until_idle()
    assert client.post("/workflows/webhooks/t/", b"x", content_type="text/plain").status_code == 202
    workflows.run_until_idle()
    (request,) = run.result()
    assert request.body == b"x"


def test_a_webhook_that_a_step_answers(client: Client, workflows: Any) -> None:
    workflows.start(flows.oracle, "t")
    workflows.run_until_idle()
    response = client.post("/workflows/webhooks/t/", "why", content_type="text/plain")
    assert (response.status_code, response.content) == (200, b"you asked why")
