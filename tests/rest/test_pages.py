"""Pages hold a bounded number of bytes, and following them gives every row once."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from django_workflows import api
from django_workflows.rest import pagination
from django_workflows.workers.process import WorkerProcess

from . import flows

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = "/workflows/api/"


@pytest.fixture(autouse=True)
def _waiting(waiting: None) -> None:
    """Workers of these tests run in the test's own thread."""


def pages(client: APIClient, url: str, link: str = "next") -> list[Any]:
    found, following = [], url
    while following:
        body = client.get(following).json()
        found.append(body["results"])
        following = body[link]
        last = body["previous"]
    return [*found, last]


@pytest.mark.parametrize("kind", ["events", "steps", "runs"])
def test_a_page_ends_with_the_row_that_goes_beyond_its_bytes(
    staff: APIClient, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(pagination, "MAX_BYTES", 10_000)
    if kind == "events":
        run = flows.mailbox.start("t", 9)
        WorkerProcess(burst=True).run()
        for _ in range(8):
            api.resume_hook("t", "x" * 4000)
        url = f"{ROOT}runs/{run.id}/events/"
    elif kind == "steps":
        url = f"{ROOT}runs/{flows.echo_many.start(['x' * 2000] * 8).id}/steps/"
        WorkerProcess(burst=True).run()
    else:
        for _ in range(8):
            flows.keep.start("x" * 4000)
        url = f"{ROOT}runs/?data=all"
    whole = [row for page in pages(staff, url + ("&" if "?" in url else "?") + "data=none")[:-1] for row in page]
    if kind == "runs":
        whole = staff.get(f"{ROOT}runs/").json()["results"]
    *forwards, back = pages(staff, url)
    assert len(forwards) > 2
    assert max(len(str(page)) for page in forwards) < 10_000 + 4000 + 6000
    key = "id" if kind != "events" else "sequence"
    assert [row[key] for page in forwards for row in page] == [row[key] for row in whole]
    *backwards, _ = pages(staff, back, "previous")
    rest = len(whole) - len(forwards[-1])
    assert [row[key] for page in reversed(backwards) for row in page] == [row[key] for row in whole][:rest]


def test_a_row_that_is_larger_than_a_page_is_a_page_of_its_own(
    staff: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pagination, "MAX_BYTES", 10)
    for _ in range(3):
        flows.keep.start("x" * 1000)
    assert [len(page) for page in pages(staff, f"{ROOT}runs/?data=all")[:-1]] == [1, 1, 1]


def test_the_list_of_runs_shows_payloads_only_if_asked(staff: APIClient) -> None:
    flows.keep.start("payload")
    assert "input" not in staff.get(f"{ROOT}runs/").json()["results"][0]
    assert staff.get(f"{ROOT}runs/?data=all").json()["results"][0]["input"]["args"] == ["payload"]
    assert staff.get(f"{ROOT}runs/?data=some").status_code == 400
