"""What comes from outside is bounded per run: over ``MAX_RUN_BYTES`` it is refused, and the run lives on."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from django_workflows import api
from django_workflows.exceptions import PayloadTooLargeError
from django_workflows.models import Event, Run
from django_workflows.workers.process import WorkerProcess

from . import flows

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _waiting(waiting: None) -> None:
    """Workers of these tests run in the test's own thread."""


def stored() -> int:
    return sum(len(event.data) for event in Event.objects.all())


def test_payloads_over_the_limit_are_refused_and_the_run_lives_on(settings: Any) -> None:
    settings.DJANGO_WORKFLOWS = {"MAX_RUN_BYTES": 20_000}
    run = flows.mailbox.start("t", 5)
    WorkerProcess(burst=True).run()
    for _ in range(4):
        api.resume_hook("t", "x" * 4000)
    for key in (None, "k"):
        with pytest.raises(PayloadTooLargeError, match="MAX_RUN_BYTES") as refused:
            api.resume_hook("t", "x" * 4000, idempotency_key=key)
    assert (refused.value.limit, Event.objects.filter(type="hook_received").count()) == (20_000, 4)
    settings.DJANGO_WORKFLOWS = {}
    api.resume_hook("t", "y")
    WorkerProcess(burst=True).run()
    assert run.result()[-1] == "y"


def test_many_small_payloads_exceed_it_by_little(settings: Any) -> None:
    settings.DJANGO_WORKFLOWS = {"MAX_RUN_BYTES": 400_000}
    flows.mailbox.start("t", 10_000)
    WorkerProcess(burst=True).run()
    with pytest.raises(PayloadTooLargeError):
        for _ in range(10_000):
            api.resume_hook("t", "x" * 60)
    sizes = [len(data) for data in Event.objects.filter(type="hook_received").values_list("data", flat=True)]
    assert 400_000 * 0.95 < stored() <= 400_000 * 65 / 64 + 64 * max(sizes)


def test_webhooks_answer_413(settings: Any) -> None:
    flows.receiver.start("hook")
    WorkerProcess(burst=True).run()
    settings.DJANGO_WORKFLOWS = {"MAX_RUN_BYTES": 2_000}
    answer = Client().post("/workflows/webhooks/hook/", "x" * 4000, content_type="text/plain")
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert Run.objects.get().status == "running"
