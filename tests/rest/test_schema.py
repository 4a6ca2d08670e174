"""The OpenAPI document."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.validation import validate_schema
from rest_framework.test import APIClient

from django_workflows.rest import schemas
from django_workflows.rest.schema import build_schema
from django_workflows.urls import urlpatterns

pytestmark = pytest.mark.django_db


def test_it_is_valid_and_gives_no_warning(capsys: pytest.CaptureFixture[str]) -> None:
    GENERATOR_STATS._warn_cache.clear()
    GENERATOR_STATS._error_cache.clear()
    document = build_schema("/workflows/")
    validate_schema(document)
    assert not GENERATOR_STATS
    assert capsys.readouterr().err == ""


def test_every_route_of_the_api_is_in_it_under_the_project_s_prefix() -> None:
    document = build_schema("/somewhere/else/")
    routes = [str(pattern.pattern) for pattern in urlpatterns if str(pattern.pattern).startswith("api/")]
    paths = {route.replace("<str:", "{").replace("<path:", "{").replace(">", "}") for route in routes}
    assert {path.removeprefix("/somewhere/else/") for path in document["paths"]} == paths - {"api/schema/"}


def test_every_operation_says_what_errors_look_like() -> None:
    for path, operations in build_schema("/")["paths"].items():
        for method, operation in operations.items():
            assert {"400", "403"} <= operation["responses"].keys(), (path, method)
            for status, response in operation["responses"].items():
                if status >= "400":
                    schema = response["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}


def test_it_is_served(staff: APIClient) -> None:
    document = staff.get("/workflows/api/schema/").json()
    assert document["openapi"].startswith("3.")
    assert "/workflows/api/runs/" in document["paths"]


def test_without_the_package_the_route_says_what_to_install(staff: APIClient, monkeypatch: Any) -> None:
    monkeypatch.setattr(schemas, "INSTALLED", False)
    response = staff.get("/workflows/api/schema/")
    assert response.status_code == 404
    assert "django-durable-workflows[openapi]" in response.json()["detail"]


def test_the_routes_work_where_the_package_is_not_installed() -> None:
    program = (
        "import sys; sys.modules['drf_spectacular'] = None\n"
        "import django; django.setup()\n"
        "from django_workflows import urls; from django_workflows.rest import schemas\n"
        "assert not schemas.INSTALLED and len(urls.urlpatterns) > 10\n"
    )
    env = {"DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": "sqlite://:memory:", "PATH": ""}
    subprocess.run([sys.executable, "-W", "error", "-c", program], env=env, check=True, timeout=60)
