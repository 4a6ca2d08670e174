"""The list of runs: pages by keyset, filters, search, words; never a count over all runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_workflows.admin import RunAdmin
from django_workflows.models import Run
from tests.admin import histories
from tests.admin.histories import Story, ago

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(viewer: User) -> Client:
    client = Client()
    client.force_login(viewer)
    return client


def listed(client: Client, query: str = "") -> Any:
    response = client.get(reverse("admin:django_workflows_run_changelist") + query)
    assert response.status_code == 200, response
    return response


def ids(response: Any) -> list[str]:
    return [run.pk for run in response.context["cl"].result_list]


class TestPages:
    @pytest.fixture(autouse=True)
    def _small_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(RunAdmin, "list_per_page", 4)

    def test_forwards_and_back_every_run_is_shown_once(self, client: Client) -> None:
        with ago(minutes=1):
            stories = [Story("shop.a", number).id for number in range(10)]
        # as after a bulk start: runs of one and the same moment
        Run.objects.filter(pk__in=stories[3:7]).update(created_at=Run.objects.get(pk=stories[3]).created_at)
        expected = list(Run.objects.order_by("-created_at", "-id").values_list("pk", flat=True))
        pages, response = [], listed(client)
        while True:
            pages.append(ids(response))
            older = response.context["cl"].older_url
            if not older:
                break
            response = listed(client, older)
        assert [pk for page in pages for pk in page] == expected
        assert [len(page) for page in pages] == [4, 4, 2]
        back = [pages[-1]]
        while (newer := response.context["cl"].newer_url) is not None:
            response = listed(client, newer)
            back.insert(0, ids(response))
        assert back == pages
        assert response.context["cl"].newer_url is None

    def test_pages_keep_the_filters(self, client: Client) -> None:
        for number in range(12):
            Story("shop.a" if number % 2 else "shop.b", number)
        first = listed(client, "?workflow=shop.a")
        second = listed(client, first.context["cl"].older_url)
        assert {run.workflow for run in second.context["cl"].result_list} == {"shop.a"}
        assert len(ids(second)) == 2

    @pytest.mark.parametrize("edge", ["nonsense", "9" * 40 + ".x", ".", "-1"])
    def test_a_broken_edge_is_no_error(self, client: Client, edge: str) -> None:
        Story("shop.a")
        response = client.get(reverse("admin:django_workflows_run_changelist"), {"before": edge}, follow=True)
        assert response.status_code == 200

    def test_nothing_is_counted_and_nothing_is_sorted_without_an_index(self, client: Client) -> None:
        for number in range(9):
            Story("shop.a", number)
        with CaptureQueriesContext(connection) as queries:
            listed(client)
        for query in queries.captured_queries:
            sql = query["sql"].upper()
            if 'FROM "DJANGO_WORKFLOWS_RUN"' in sql and "COUNT(" in sql:
                assert "LIMIT 500" in sql  # how far "select all" reaches
            assert " OFFSET " not in sql

    def test_a_page_costs_the_same_whatever_it_shows(self, client: Client) -> None:
        counts = []
        for _ in range(2):
            for number in range(2):
                Story("shop.a", number).start().sleep("wait:1", 60)
            listed(client)
            with CaptureQueriesContext(connection) as queries:
                listed(client)
            counts.append(len(queries))
        assert counts[0] == counts[1]


class TestFilters:
    def test_by_status_blocked_workflow_queue_and_time(self, client: Client) -> None:
        with ago(hours=30):
            old = Story("shop.a").start().end()
        slow = Story("shop.b", queue="slow").start()
        blocked = Story("shop.b").start().block("the code does not fit")
        assert ids(listed(client, "?status=completed")) == [old.id]
        assert ids(listed(client, "?blocked=yes")) == [blocked.id]
        assert ids(listed(client, "?workflow=shop.a")) == [old.id]
        assert ids(listed(client, "?queue=slow")) == [slow.id]
        assert ids(listed(client, "?since=24h")) == [blocked.id, slow.id]
        assert ids(listed(client, "?since=7d&status=running&queue=default")) == [blocked.id]

    def test_by_attribute(self, client: Client) -> None:
        story = Story("shop.a", attributes={"customer": "c1"})
        Story("shop.a", attributes={"customer": "c2"})
        response = listed(client, "?attribute=customer%3Dc1")
        assert ids(response) == [story.id]
        assert 'value="customer=c1"' in response.content.decode()
        assert ids(listed(client, "?attribute=customer")) == []

    def test_values_that_mean_nothing_show_all_or_nothing_but_no_error(self, client: Client) -> None:
        Story("shop.a")
        for query in ("?status=odd", "?since=odd", "?attribute=%00", "?queue=none", "?workflow=%27", "?q=%00"):
            listed(client, query)

    def test_a_look_up_that_is_not_offered_is_refused(self, client: Client) -> None:
        url = reverse("admin:django_workflows_run_changelist")
        assert client.get(url, {"seed__startswith": "a"}).status_code in (302, 400)


def test_search_finds_by_token(client: Client) -> None:
    story = Story("shop.a").start().hook("hook:1", "packed:42")
    Story("shop.a")
    assert ids(listed(client, "?q=packed:42")) == [story.id]


def test_the_list_says_what_each_run_waits_for_or_how_it_ended(client: Client) -> None:
    told = histories.shop()
    text = listed(client).content.decode()
    for words in (
        "hook packed:44 for 3 h 1",
        "sleeping until",
        "retry 2 of fetch in",
        "blocked: Replay diverged at event 8",
        "CardDeclinedError: insufficient funds",
        "child import_feed for",
    ):
        assert words in text, words
    assert told["finished"].id in text


def test_payloads_of_the_list_are_not_read(client: Client) -> None:
    Story("shop.a", "some secret argument")
    with CaptureQueriesContext(connection) as queries:
        listed(client)
    assert not any('"django_workflows_run"."input"' in query["sql"] for query in queries.captured_queries)


def test_a_run_whose_error_no_class_can_rebuild_is_listed(client: Client) -> None:
    story = Story("shop.a").start().fail(ValueError("x"))
    broken = (
        '{"type":"gone.away.Error","message":"no","args":[{"$":"enum","c":"gone:E","v":1}],"traceback":"","cause":null}'
    )
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_workflows_run SET error = %s, input = '{' WHERE id = %s", [broken, story.id])
    assert "Error: no" in listed(client).content.decode()


def test_the_age_is_coarse(client: Client) -> None:
    from django_workflows.inspection.text import rough_age

    start = Story("shop.a").run.created_at
    spans = {40: "40 s", 217: "3 min", 2517: "41 min", 7980: "2 h 13 min", 80_000: "22 h", 400_000: "4 d"}
    assert {seconds: rough_age(start, start + timedelta(seconds=seconds)) for seconds in spans} == spans
