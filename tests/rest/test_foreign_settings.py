"""What a project sets for its own API does not reach ours where it would break it; what is misspelt is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.test import APIClient

from django_workflows.models import Event, Run

from . import flows

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = "/workflows/api/"


class ShoutingRenderer(JSONRenderer):
    """Rewrites every key, as renderers for camel case do."""

    def render(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        def shout(value: Any) -> Any:
            if isinstance(value, dict):
                return {key.upper(): shout(item) for key, item in value.items()}
            return [shout(item) for item in value] if isinstance(value, list) else value

        return super().render(shout(data), *args, **kwargs)


class Stubborn(BaseContentNegotiation):
    """Accepts nothing."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        raise AssertionError("the project's negotiation was asked")


@pytest.mark.parametrize(
    "theirs",
    [
        {"DEFAULT_RENDERER_CLASSES": ["tests.rest.test_foreign_settings.ShoutingRenderer"]},
        {"DEFAULT_CONTENT_NEGOTIATION_CLASS": "tests.rest.test_foreign_settings.Stubborn"},
        {"DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.AcceptHeaderVersioning", "ALLOWED_VERSIONS": ["v1"]},
        {"DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.NamespaceVersioning", "ALLOWED_VERSIONS": ["v1"]},
        {"DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.URLPathVersioning", "ALLOWED_VERSIONS": ["v1"]},
        {"DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.FileUploadParser"]},
        {"DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination", "PAGE_SIZE": 1},
        {"DEFAULT_FILTER_BACKENDS": ["rest_framework.filters.SearchFilter"]},
        {"URL_FORMAT_OVERRIDE": None},
    ],
    ids=lambda theirs: next(iter(theirs)),
)
def test_settings_for_other_views_do_not_reach_ours(staff: APIClient, settings: Any, theirs: Any) -> None:
    settings.REST_FRAMEWORK = theirs
    body = {"args": [{"inner_key": 1}]}
    made = staff.post(f"{ROOT}workflows/{flows.add.name}/runs/", body, format="json")
    assert made.status_code == 201, made.content
    assert made.json()["input"]["args"] == [{"inner_key": 1}]
    for route in ("", f"{made.json()['id']}/", f"{made.json()['id']}/events/"):
        answer = staff.get(f"{ROOT}runs/{route}")
        assert answer.status_code == 200
        assert answer["Content-Type"] == "application/json"
    assert staff.get(f"{ROOT}runs/unknown/").json()["code"] == "run_not_found"


def test_browsers_get_forms_only_where_the_project_s_own_views_give_them(staff: APIClient, settings: Any) -> None:
    flows.add.start(1)
    html = {"Accept": "text/html,*/*;q=0.8"}
    assert staff.get(f"{ROOT}runs/", headers=html)["Content-Type"].startswith("text/html")
    settings.REST_FRAMEWORK = {"DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]}
    assert staff.get(f"{ROOT}runs/", headers=html)["Content-Type"] == "application/json"


class TestUnknownNames:
    @pytest.mark.parametrize("query", ["state=failed", "status=failed&workfow=x", "cursor=&x=1", "%00=1", "%ff=1"])
    def test_an_unknown_filter_is_400_and_names_the_known_ones(self, staff: APIClient, query: str) -> None:
        answer = staff.get(f"{ROOT}runs/?{query}")
        assert answer.status_code == 400
        if "cursor" not in query:
            assert "since, status, until, workflow" in answer.json()["detail"]

    def test_every_route_refuses_what_it_does_not_know(self, staff: APIClient) -> None:
        run = flows.add.start(1)
        for route in ("", "events/", "steps/", "hooks/", "waits/", "streams/default/"):
            answer = staff.get(f"{ROOT}runs/{run.id}/{route}?dta=none", headers={"Accept": "application/json"})
            assert (answer.status_code, list(answer.json()["errors"])) == (400, ["dta"]), route

    @pytest.mark.parametrize(
        ("route", "known"),
        [
            ("cancel/", "reason, force"),
            ("wake/", "correlation_id"),
            ("retry/", "none"),
            ("unblock/", "none"),
        ],
    )
    def test_an_unknown_key_is_400_names_the_known_ones_and_does_nothing(
        self, staff: APIClient, route: str, known: str
    ) -> None:
        run = flows.add.start(1)
        answer = staff.post(f"{ROOT}runs/{run.id}/{route}", {"forc": True}, format="json")
        assert answer.status_code == 400
        assert known in answer.json()["errors"]["forc"][0]
        assert Event.objects.count() == 1

    def test_an_unknown_key_starts_nothing(self, staff: APIClient) -> None:
        body = {"args": [1], "idempotencyKey": "k", "\ud800": 1}
        url = f"{ROOT}workflows/{flows.add.name}/runs/"
        answer = staff.post(url, json.dumps(body), content_type="application/json")
        assert answer.status_code == 400
        assert "args, kwargs, idempotency_key" in answer.json()["errors"]["idempotencyKey"][0]
        assert not Run.objects.exists()
