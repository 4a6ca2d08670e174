"""The pages on runs that the engine made, and the actions on bodies that really continue after them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from django_workflows.models import Hook, Run
from django_workflows.testing import Workflows
from tests.admin import work

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("verified")]


@pytest.fixture
def session() -> Iterator[Workflows]:
    with Workflows() as session:
        yield session
    work.ANSWERS.clear()


@pytest.fixture
def client(operator: User) -> Client:
    client = Client()
    client.force_login(operator)
    return client


def page(client: Client, run: Any) -> str:
    response = client.get(reverse("admin:django_workflows_run_change", args=[quote(run.id)]))
    assert response.status_code == 200
    return str(response.content.decode())


def act(client: Client, run: Any, verb: str, **data: str) -> None:
    response = client.post(reverse("admin:django_workflows_run_act", args=[run.id, verb]), {"reason": "r", **data})
    assert response.status_code == 302


def test_a_run_from_its_start_to_its_end(session: Workflows, client: Client) -> None:
    work.ANSWERS[:] = [ConnectionError("HTTP 503")]
    run = work.fulfil.start(7)
    session.run_until_idle()
    text = page(client, run)
    assert "retry 1/2 of charge in " in text
    assert "ConnectionError: HTTP 503" in text
    session.advance(5)
    text = page(client, run)
    assert "hook packed:7 for" in text
    assert "sleeping until" in text
    assert "child count_stock" in text
    hook = Hook.objects.get(run_id=run.id)
    client.post(reverse("admin:django_workflows_run_resume", args=[run.id, hook.pk]), {"payload": '{"box": 3}'})
    assert session.result(run) == {"packed": {"box": 3}, "stock": 14, "receipt": "receipt for ch_7"}
    text = page(client, run)
    assert "1 delivery" in text
    assert "&quot;receipt for ch_7&quot;" in text


def test_wake_ends_the_time_limit(session: Workflows, client: Client) -> None:
    run = work.fulfil.start(8)
    session.run_until_idle()
    act(client, run, "wake")
    assert session.result(run) == {"status": "refunded"}
    assert "woken by hand" in page(client, run)


def test_a_failed_run_is_retried_from_its_failed_step(session: Workflows, client: Client) -> None:
    work.ANSWERS[:] = [ValueError("declined")] * 3
    run = work.fulfil.start(9)
    session.drive(run)
    assert "ValueError: declined" in page(client, run)
    act(client, run, "retry")
    session.run_until_idle()
    text = page(client, run)
    assert "hook packed:9" in text
    assert "the run: retried at" in text
    assert "4 attempts" in text


def test_a_cancelled_body_and_one_that_is_ended_by_force(session: Workflows, client: Client) -> None:
    run, other = work.fulfil.start(10), work.fulfil.start(11)
    session.run_until_idle()
    act(client, run, "cancel")
    act(client, other, "force")
    session.run_until_idle()
    assert set(Run.objects.filter(pk__in=[run.id, other.id]).values_list("status", flat=True)) == {"cancelled"}
    assert "not waited out" in page(client, run)
