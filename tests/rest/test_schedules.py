"""Schedules over REST: each route with its own permission, every refusal a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from rest_framework.test import APIClient

from django_workflows import api
from django_workflows.models import Run, Schedule

from . import flows

pytestmark = pytest.mark.django_db
URL = "/workflows/api/schedules/"
ADD = flows.add.name


def client_with(*permissions: str) -> APIClient:
    user = User.objects.create_user("-".join(permissions) or "nobody")
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = APIClient()
    client.force_authenticate(User.objects.get(pk=user.pk))
    return client


@pytest.fixture
def nightly() -> api.ScheduleHandle:
    return api.create_schedule("nightly", flows.add, cron="0 3 * * *", tz="Europe/Berlin", args=[1], kwargs={"b": 2})


def test_one_schedule_with_its_next_ticks_and_what_it_starts(staff: APIClient, nightly: api.ScheduleHandle) -> None:
    answer = staff.get(f"{URL}nightly/")
    assert answer.status_code == 200
    assert answer.data["spec"] == {"cron": "0 3 * * *"}
    assert answer.data["input"] == {"args": [1], "kwargs": {"b": 2}}
    assert len(answer.data["preview"]) == 10
    assert answer.data["preview"][0] == answer.data["next_at"]


def test_the_list_is_by_name_and_paged(staff: APIClient) -> None:
    for name in ("b", "a", "c"):
        api.create_schedule(name, flows.add, every="1h", args=[1])
    first = staff.get(URL, {"page_size": 2}).data
    assert [row["name"] for row in first["results"]] == ["a", "b"]
    assert "input" not in first["results"][0]
    assert [row["name"] for row in staff.get(first["next"]).data["results"]] == ["c"]


def test_create_change_act_and_delete(staff: APIClient) -> None:
    given = {"name": "new", "workflow": ADD, "every": "1h", "args": [1], "jitter": "2m"}
    created = staff.post(URL, given, format="json")
    assert created.status_code == 201, created.data
    assert created.data["jitter"] == 120
    assert staff.post(URL, given, format="json").status_code == 201, "the same definition is the same schedule"
    assert staff.post(URL, {**given, "every": "2h"}, format="json").status_code == 409
    assert staff.patch(f"{URL}new/", {"cron": "0 9 * * *"}, format="json").data["spec"] == {"cron": "0 9 * * *"}
    paused = staff.post(f"{URL}new/pause/", {"reason": "holidays"}, format="json")
    assert (paused.status_code, paused.data["paused_reason"]) == (202, "holidays")
    assert staff.post(f"{URL}new/resume/").data["paused_at"] is None
    run_id = staff.post(f"{URL}new/trigger/").data["run"]
    assert Run.objects.get(pk=run_id).attributes["schedule"] == "new"
    span = {"since": "2026-11-01T00:00:00Z", "until": "2026-11-04T00:00:00Z"}
    assert len(staff.post(f"{URL}new/backfill/", span, format="json").data["runs"]) == 3
    assert staff.delete(f"{URL}new/").status_code == 204
    assert staff.get(f"{URL}new/").status_code == 404


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"every": "0s"}, "interval"),
        ({"every": None, "cron": "30 2 30 2 *"}, "cron"),
        ({"args": [1, 2, 3]}, "positional"),
        ({"args": 5}, "args"),
        ({"kwargs": [1]}, "kwargs"),
        ({"overlap": "sometimes"}, "overlap"),
        ({"name": "x" * 300}, "name"),
        ({"nonsense": 1}, "not known"),
        ({"tz": "Mars/Olympus", "every": None, "cron": "0 9 * * *"}, "time zone"),
    ],
)
def test_what_cannot_be_kept_is_a_400_that_says_why(staff: APIClient, change: dict[str, Any], expected: str) -> None:
    answer = staff.post(URL, {"name": "n", "workflow": ADD, "every": "1h", "args": [1], **change}, format="json")
    assert answer.status_code == 400, answer.data
    assert expected in str(answer.data)
    assert not Schedule.objects.exists()


def test_only_workflows_that_the_api_may_start(staff: APIClient) -> None:
    given = {"name": "n", "workflow": flows.private.name, "every": "1h"}
    assert staff.post(URL, given, format="json").status_code == 404


def test_a_declared_schedule_is_not_changed_from_outside(staff: APIClient, nightly: api.ScheduleHandle) -> None:
    Schedule.objects.update(declared=True)
    assert staff.patch(f"{URL}nightly/", {"cron": "0 4 * * *"}, format="json").status_code == 409
    assert staff.delete(f"{URL}nightly/").status_code == 409


@pytest.mark.parametrize(
    ("method", "path", "permission"),
    [
        ("get", "", "view_schedule"),
        ("post", "", "add_schedule"),
        ("get", "nightly/", "view_schedule"),
        ("patch", "nightly/", "change_schedule"),
        ("delete", "nightly/", "delete_schedule"),
        ("post", "nightly/pause/", "pause_schedule"),
        ("post", "nightly/resume/", "pause_schedule"),
        ("post", "nightly/trigger/", "trigger_schedule"),
        ("post", "nightly/backfill/", "trigger_schedule"),
    ],
)
def test_each_route_has_a_permission_of_its_own(
    nightly: api.ScheduleHandle, method: str, path: str, permission: str
) -> None:
    others = {"view_run", "start_run", "view_schedule", "add_schedule", "change_schedule", "delete_schedule"}
    others |= {"pause_schedule", "trigger_schedule"}
    refused = getattr(client_with(*sorted(others - {permission})), method)(f"{URL}{path}", {}, format="json")
    assert refused.status_code == 403
    allowed = getattr(client_with(permission), method)(f"{URL}{path}", {}, format="json")
    assert allowed.status_code != 403
    if permission != "view_schedule" and allowed.status_code in (200, 202):
        assert "input" not in allowed.data, "who may act need not be shown it"
