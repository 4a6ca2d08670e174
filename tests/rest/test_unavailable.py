"""A database that is away or refuses is a 503 that says when to come back, and no log names a token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DataError, InternalError, OperationalError, connection
from django.test import Client
from rest_framework.test import APIClient

from django_workflows.models import Hook, Run
from django_workflows.rest.streams import _error

from . import flows

pytestmark = pytest.mark.django_db(transaction=True)
TOKEN = "a-token-that-no-log-may-show"
ROUTES = [
    ("get", "api/runs/"),
    ("get", "api/runs/{run}/"),
    ("get", "api/runs/{run}/events/"),
    ("get", "api/runs/{run}/steps/"),
    ("get", "api/runs/{run}/streams/default/"),
    ("get", "api/hooks/{token}/"),
    ("get", "api/schedules/"),
    ("post", "api/runs/{run}/cancel/"),
    ("post", "api/runs/{run}/wake/"),
    ("post", "api/hooks/{token}/resume/"),
    ("post", "webhooks/{token}/"),
    ("head", "webhooks/{token}/"),
]


def read_only() -> Exception:
    error, cause = InternalError("cannot execute INSERT"), Exception()
    cause.sqlstate = "25006"  # type: ignore[attr-defined]
    error.__cause__ = cause
    return error


@contextmanager
def failing(error: Exception) -> Iterator[None]:
    def refuse(*args: Any) -> None:
        raise error

    with connection.execute_wrapper(refuse):
        yield


@pytest.mark.parametrize(
    "error", [OperationalError("server closed the connection"), read_only()], ids=["away", "refuses"]
)
def test_every_route_is_503_with_a_time_to_come_back(staff: APIClient, error: Exception, caplog: Any) -> None:
    run = flows.add.start(1)
    for method, route in ROUTES:
        for accept in ("application/json", "text/html, */*"):
            body: dict[str, Any] = {"payload": 1} if "resume" in route else {}
            with failing(error):
                url = "/workflows/" + route.format(run=run.id, token=TOKEN)
                answer = getattr(staff, method)(
                    url, body, headers={"Accept": accept}, format=None if method != "post" else "json"
                )
            assert (answer.status_code, answer["Retry-After"]) == (503, "5"), route
            if method != "head":
                assert answer.json()["code"] == "unavailable"
                assert "closed" not in answer.content.decode()
    assert TOKEN not in caplog.text
    assert Run.objects.get().status == "pending"


@pytest.mark.parametrize("route", ["webhooks/{token}/", "api/hooks/{token}/resume/"])
def test_a_fault_of_ours_is_a_500_whose_log_has_the_traceback_and_not_the_token(
    staff: APIClient, route: str, caplog: Any
) -> None:
    staff.raise_request_exception = False
    with failing(DataError("a fault of ours")):
        answer = staff.post("/workflows/" + route.format(token=TOKEN), {"payload": 1}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "a fault of ours" in caplog.text
    assert TOKEN not in caplog.text
    with failing(DataError("a fault of ours")), pytest.raises(DataError):  # as tests of a project see it
        Client().post("/workflows/webhooks/" + TOKEN + "/")


def test_a_stream_ends_with_an_event_that_says_so() -> None:
    assert _error(OperationalError("gone")) == b'event: error\ndata: {"code": "unavailable"}\n\n'
    with pytest.raises(ZeroDivisionError):
        _error(ZeroDivisionError())
    assert not Hook.objects.exists()
