"""The REST API: runs, their histories, hooks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from rest_framework.settings import api_settings
from rest_framework.test import APIClient
from rest_framework.views import APIView

from django_workflows import RunHandle, api, exceptions
from django_workflows.models import Event, Hook, Run
from django_workflows.rest import errors
from django_workflows.rest.runs import RunStart
from django_workflows.workers.process import WorkerProcess

from . import flows

pytestmark = pytest.mark.django_db(transaction=True)
TIMEOUT = 30
ROOT = "/workflows/api/"


def work() -> None:
    """A worker that does what is due, and ends."""
    WorkerProcess(burst=True).run()


@pytest.fixture(autouse=True)
def _waiting(waiting: None) -> None:
    """Workers of these tests run in the test's own thread."""


def run_url(run: RunHandle[Any], rest: str = "") -> str:
    return f"{ROOT}runs/{run.id}/{rest}"


def pages(client: APIClient, url: str) -> Iterator[list[Any]]:
    following: str | None = url
    while following:
        response = client.get(following)
        assert response.status_code == 200, response.content
        body = response.json()
        assert set(body) == {"next", "previous", "results"}
        yield body["results"]
        following = body["next"]


class TestRuns:
    def test_detail(self, staff: APIClient) -> None:
        run = flows.add.using(attributes={"customer": "c1"}, idempotency_key="k", priority=3).start(1, b=2)
        work()
        body = staff.get(run_url(run)).json()
        assert body["id"] == run.id
        assert (body["workflow"], body["status"], body["output"]) == (flows.add.name, "completed", 3)
        assert body["input"] == {"args": [1], "kwargs": {"b": 2}}
        assert (body["attributes"], body["idempotency_key"], body["priority"]) == ({"customer": "c1"}, "k", 3)
        assert body["created_at"].endswith("Z")
        assert body["completed_at"] >= body["started_at"] >= body["created_at"]
        assert "seed" not in body

    def test_the_keys_are_the_columns_of_the_contract(self, staff: APIClient) -> None:
        contract = (
            "id workflow queue priority status input output error error_code attributes idempotency_key parent "
            "created_at started_at completed_at deadline_at wake_at last_sequence blocked_reason"
        )
        assert set(contract.split()) <= set(staff.get(run_url(flows.add.start(1))).json())

    def test_values_of_all_kinds(self, staff: APIClient) -> None:
        run = flows.odd_values.start()
        work()
        assert staff.get(run_url(run)).json()["output"] == {
            "parcel": {"weight": "1.50", "packed_at": "2026-01-02T03:04:05+00:00"},
            "bytes": "AP8=",
            "set": [1],
            "tuple": [1, "x"],
            "nan": "nan",
            "lone": "\ufffd",
            "nul": "\x00",
            "big": hex(10**400),
            "days": "P1DT00H00M05S",
            "3": "key",
        }

    @pytest.mark.tampers
    def test_a_class_that_is_not_there_any_more_is_shown_all_the_same(self, staff: APIClient) -> None:
        run = flows.add.start(1)
        with connection.cursor() as cursor:
            text = '{"args":[{"$":"dataclass","c":"gone:Gone","v":{"a":1}}],"kwargs":{}}'
            cursor.execute("UPDATE django_workflows_run SET input = %s WHERE id = %s", [text, run.id])
        assert staff.get(run_url(run)).json()["input"] == {"args": [{"a": 1}], "kwargs": {}}

    def test_without_data(self, staff: APIClient) -> None:
        run = flows.add.start(1)
        for url in (run_url(run), f"{ROOT}runs/"):
            body = staff.get(url, {"data": "none"}).json()
            assert not {"input", "output", "error"} & set(body.get("results", [body])[0])

    @pytest.mark.parametrize("run_id", ["wrun_" + "0" * 26, "wrun_x", "%00", "x" * 5000, "%F0%9F%98%80", "..%2F"])
    def test_unknown(self, staff: APIClient, run_id: str) -> None:
        for rest in ("", "events/", "steps/", "hooks/", "waits/", "streams/default/"):
            response = staff.get(f"{ROOT}runs/{run_id}/{rest}")
            assert response.status_code == 404
        response = staff.post(f"{ROOT}runs/{run_id}/cancel/", {}, format="json")
        assert response.status_code == 404


class TestList:
    def test_newest_first_page_by_page_there_and_back(self, staff: APIClient) -> None:
        runs = flows.add.start_many([((i,), {}) for i in range(25)])
        found = [run["id"] for page in pages(staff, f"{ROOT}runs/?page_size=4") for run in page]
        assert sorted(found) == sorted(run.id for run in runs)
        last = staff.get(f"{ROOT}runs/?page_size=4").json()
        while last["next"]:
            last = staff.get(last["next"]).json()
        back = list(last["results"])
        while last["previous"]:
            last = staff.get(last["previous"]).json()
            back = last["results"] + back
        assert [run["id"] for run in back] == found

    def test_runs_that_begin_meanwhile_move_nothing(self, staff: APIClient) -> None:
        flows.add.start_many([((i,), {}) for i in range(6)])
        walk = pages(staff, f"{ROOT}runs/?page_size=3")
        seen = [run["id"] for run in next(walk)]
        flows.add.start_many([((i,), {}) for i in range(10)])
        seen += [run["id"] for page in walk for run in page]
        assert len(seen) == len(set(seen)) == 6

    def test_filters(self, staff: APIClient) -> None:
        first = flows.add.using(attributes={"customer": "c1", "kind": "a=b"}).start(1)
        work()
        second = flows.sleeper.using(attributes={"customer": "c2"}).start()
        work()

        def ids(**query: Any) -> set[str]:
            return {run["id"] for run in staff.get(f"{ROOT}runs/", query).json()["results"]}

        assert ids() == {first.id, second.id}
        assert ids(status="completed") == ids(workflow=flows.add.name) == ids(attribute="customer=c1") == {first.id}
        assert ids(status=["completed", "running"]) == {first.id, second.id}
        assert ids(attribute=["customer=c1", "kind=a=b"]) == {first.id}
        assert ids(attribute=["customer=c1", "kind=other"]) == set()
        assert ids(attribute="self=c1") == ids(attribute="runs=c1") == ids(attribute="customer__gt=c1") == set()
        moment = Run.objects.get(pk=second.id).created_at.isoformat()
        assert ids(since=moment) == {second.id}
        assert ids(until=moment) == {first.id}
        assert ids(workflow="unknown") == set()

    @pytest.mark.parametrize(
        "query",
        [
            "status=done",
            "status=%00",
            "since=yesterday",
            "since=2026-01-01",
            "since=2026-01-01T00:00:00",
            "since=0001-01-01T00:00:00%2B14:00",
            "until=9999-12-31T23:59:59-14:00",
            "attribute=x",
            "attribute==x",
            "attribute=a%00=b",
            "attribute=a=%00",
            "workflow=%00",
            "data=some",
            "page_size=0",
            "page_size=-1",
            "page_size=99999999999999999999999",
            "page_size=x",
            "page_size=%D9%A3",
            "cursor=x",
            "cursor=%00",
            "cursor=bnVsbA",
            "cursor=WzAsMV0",
            "cursor=" + "W" * 5000,
            "cursor=%F0%9F%98%80",
        ],
    )
    def test_a_filter_that_cannot_be_read_is_400(self, staff: APIClient, query: str) -> None:
        response = staff.get(f"{ROOT}runs/?{query}")
        assert response.status_code == 400, response.content
        assert response.json()["code"] == "invalid"
        assert query.partition("=")[0] in response.json()["errors"]

    def test_a_cursor_of_another_list_is_refused(self, staff: APIClient) -> None:
        run = flows.steps_and_waits.start(3)
        work()
        cursor = staff.get(run_url(run, "events/?page_size=2")).json()["next"].partition("cursor=")[2].partition("&")[0]
        assert staff.get(f"{ROOT}runs/?cursor={cursor}").status_code == 400


class TestStart:
    def url(self, workflow: Any) -> str:
        return f"{ROOT}workflows/{workflow.name}/runs/"

    def test_it_starts(self, staff: APIClient) -> None:
        response = staff.post(self.url(flows.add), {"args": [1], "kwargs": {"b": 4}}, format="json")
        assert response.status_code == 201
        work()
        assert RunHandle(response.json()["id"]).result() == 5

    def test_a_repeated_key_is_200_and_other_arguments_409(self, staff: APIClient) -> None:
        body = {"args": [1], "idempotency_key": "k"}
        first = staff.post(self.url(flows.add), body, format="json")
        again = staff.post(self.url(flows.add), body, format="json")
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["id"] == again.json()["id"]
        other = staff.post(self.url(flows.add), {**body, "args": [2]}, format="json")
        assert (other.status_code, other.json()["code"]) == (409, "entity_conflict")
        assert Run.objects.count() == 1

    def test_undeclared_and_unknown_are_the_same_404(self, staff: APIClient) -> None:
        names = (flows.private.name, "no", "%00")
        answers = [staff.post(f"{ROOT}workflows/{name}/runs/", {}, format="json") for name in names]
        assert {(answer.status_code, answer.content) for answer in answers} == {(404, answers[0].content)}
        assert answers[0].json()["code"] == "workflow_not_found"

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"args": [1, 2, 3]},
            {"kwargs": {"c": 1}},
            {"args": [1], "kwargs": {"a": 1}},
            {"args": {}},
            {"args": "x"},
            {"args": None},
            {"kwargs": []},
            {"args": [1], "idempotency_key": ""},
            {"args": [1], "idempotency_key": "x" * 256},
            {"args": [1], "idempotency_key": "\x00"},
            {"args": [1], "idempotency_key": {}},
            [],
            "x",
            None,
            5,
        ],
    )
    def test_what_does_not_fit_is_400(self, staff: APIClient, body: Any) -> None:
        response = staff.post(self.url(flows.add), body, format="json")
        assert response.status_code == 400
        assert set(response.json()) >= {"code", "detail"}
        assert not Run.objects.exists()

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"\xff",
            b'{"args": [NaN]}',
            b'{"args": [1e999]}',
            b'{"args": [' + b"9" * 5000 + b"]}",
            b"[" * 100_000,
            b'{"args": [' + b"[" * 500 + b"]" * 500 + b"]}",
            b'{"args": [1], "idempotency_key": "\\ud800"}',
            '{"args": [1]}'.encode("utf-16"),
        ],
    )
    def test_what_is_no_json_is_400(self, staff: APIClient, body: bytes) -> None:
        for content_type in ("application/json", "application/json; charset=utf-16", "application/json; charset=rot13"):
            response = staff.generic("POST", self.url(flows.add), body, content_type=content_type)
            assert response.status_code == 400, (body[:40], content_type, response.content)
        assert not Run.objects.exists()

    def test_other_content_types_are_415(self, staff: APIClient) -> None:
        response = staff.generic("POST", self.url(flows.add), b"x", content_type="text/csv")
        assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")

    def test_values_as_they_come(self, staff: APIClient) -> None:
        values = [{"$": "datetime", "v": "x"}, "\x00", "\ud800", 10**30, None, {"": [[]]}]
        body = json.dumps({"args": [values]})
        response = staff.generic("POST", self.url(flows.writer), body, content_type="application/json")
        assert response.status_code == 201
        assert Run.objects.get().input["args"] == [values]

    def test_too_large_is_413(self, staff: APIClient, settings: Any) -> None:
        settings.DJANGO_WORKFLOWS = {"MAX_PAYLOAD_BYTES": 1000}
        response = staff.post(self.url(flows.add), {"args": ["x" * 1000]}, format="json")
        assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
        response = staff.post(self.url(flows.add), {"args": ["x"]}, format="multipart")
        assert response.status_code in (400, 413)


class TestActions:
    def test_cancel(self, staff: APIClient) -> None:
        run = flows.sleeper.start()
        work()
        response = staff.post(run_url(run, "cancel/"), {"reason": "changed my mind"}, format="json")
        assert response.status_code == 202
        assert response.json()["cancel_requested_at"]
        work()
        body = staff.get(run_url(run)).json()
        assert (body["status"], body["error_code"]) == ("cancelled", "run_cancelled")
        assert staff.post(run_url(run, "cancel/")).status_code == 202  # again: silent

    def test_force(self, staff: APIClient) -> None:
        run = flows.sleeper.start()
        assert staff.post(run_url(run, "cancel/"), {"force": True}, format="json").json()["status"] == "cancelled"

    def test_what_has_ended_is_a_conflict(self, staff: APIClient) -> None:
        run = flows.add.start(1)
        work()
        for action in ("cancel/", "wake/"):
            response = staff.post(run_url(run, action), {}, format="json")
            assert (response.status_code, response.json()["code"]) == (409, "run_not_active")

    @pytest.mark.parametrize("body", [{"reason": "\x00"}, {"reason": "x" * 1001}, {"force": "maybe"}, []])
    def test_what_cannot_be_read_is_400(self, staff: APIClient, body: Any) -> None:
        run = flows.sleeper.start()
        assert staff.post(run_url(run, "cancel/"), body, format="json").status_code == 400

    def test_wake(self, staff: APIClient) -> None:
        run = flows.sleeper.start()
        work()
        assert staff.post(run_url(run, "wake/"), {"correlation_id": "no such"}, format="json").status_code == 202
        work()
        assert run.status() == "running"
        assert staff.post(run_url(run, "wake/")).status_code == 202
        work()
        assert run.result() == "awake"

    def test_retry(self, staff: APIClient) -> None:
        run, whole = flows.broken.start(), flows.add.start(1)
        work()
        assert staff.get(run_url(run)).json()["error"]["message"] == "no stock"
        response = staff.post(run_url(run, "retry/"))
        assert (response.status_code, response.json()["status"]) == (202, "running")
        response = staff.post(run_url(whole, "retry/"))
        assert (response.status_code, response.json()["code"]) == (409, "entity_conflict")


class TestHistories:
    def test_events_in_log_order_page_by_page(self, staff: APIClient) -> None:
        run = flows.steps_and_waits.start(5)
        work()
        found = [event for page in pages(staff, run_url(run, "events/?page_size=3")) for event in page]
        assert [event["sequence"] for event in found] == list(range(1, len(found) + 1))
        assert len(found) == Run.objects.get(pk=run.id).last_sequence
        assert found[0]["type"] == "run_created"
        assert found[0]["payload"]["kwargs"] == {}
        assert "seed" not in found[0]["payload"]  # whoever knows it can compute the body's random numbers
        assert set(found[1]) == {"run", "sequence", "type", "correlation_id", "payload", "created_at"}

    def test_without_data(self, staff: APIClient) -> None:
        run = flows.steps_and_waits.start(1)
        work()
        for part in ("events/", "steps/"):
            (row, *_) = staff.get(run_url(run, part), {"data": "none"}).json()["results"]
            assert not {"payload", "input", "output", "error"} & set(row)

    def test_steps_in_the_order_of_their_creation(self, staff: APIClient) -> None:
        run = flows.steps_and_waits.start(7)
        work()
        found = [step for page in pages(staff, run_url(run, "steps/?page_size=2")) for step in page]
        assert [step["input"]["args"][0] for step in found] == list(range(7))
        assert {step["status"] for step in found} == {"completed"}
        assert found[3]["output"] == 3

    def test_waits_and_hooks(self, staff: APIClient) -> None:
        waits = flows.steps_and_waits.start(1)
        hooks = flows.approval.start("t")
        work()
        (wait,) = staff.get(run_url(waits, "waits/")).json()["results"]
        assert wait["due_at"].endswith("Z")
        (hook,) = staff.get(run_url(hooks, "hooks/")).json()["results"]
        assert (hook["token"], hook["metadata"], hook["is_webhook"]) == ("t", {"for": "you"}, False)


class TestHooks:
    def resume(self, client: APIClient, token: str, body: Any, **headers: str) -> Any:
        return client.post(f"{ROOT}hooks/{token}/resume/", body, format="json", headers=headers)

    def test_look_up(self, staff: APIClient) -> None:
        run = flows.approval.start("order:1+a@b")
        work()
        body = staff.get(f"{ROOT}hooks/order:1+a@b/").json()
        assert (body["run"], body["token"], body["metadata"]) == (run.id, "order:1+a@b", {"for": "you"})

    def test_resume(self, staff: APIClient) -> None:
        run = flows.mailbox.start("t", 1)
        work()
        response = self.resume(staff, "t", {"payload": {"a": [1, None]}})
        assert response.status_code == 202
        body = response.json()
        assert (body["type"], body["run"], body["payload"]["payload"]) == ("hook_received", run.id, {"a": [1, None]})
        work()
        assert run.result() == [{"a": [1, None]}]

    @pytest.mark.parametrize("payload", [None, 0, "", [], {}, False])
    def test_empty_payloads_are_payloads(self, staff: APIClient, payload: Any) -> None:
        run = flows.mailbox.start("t", 1)
        work()
        assert self.resume(staff, "t", {"payload": payload}).status_code == 202
        work()
        assert run.result() == [payload]

    def test_a_repeated_key_gives_the_first_event(self, staff: APIClient) -> None:
        run = flows.mailbox.start("t", 2)
        work()
        first = self.resume(staff, "t", {"payload": 1}, **{"Idempotency-Key": "k"})
        again = self.resume(staff, "t", {"payload": 2}, **{"Idempotency-Key": "k"})
        other = self.resume(staff, "t", {"payload": 3}, **{"Idempotency-Key": "l"})
        assert first.json() == again.json() != other.json()
        work()
        assert run.result() == [1, 3]

    def test_a_refused_payload_is_400_and_the_run_keeps_waiting(self, staff: APIClient) -> None:
        run = flows.approval.start("t")
        work()
        response = self.resume(staff, "t", {"payload": {"comment": "x" * 21}})
        assert (response.status_code, response.json()["code"]) == (400, "hook_payload")
        assert set(response.json()["errors"]) == {"approved", "comment"}
        for odd in (None, 5, [], "x"):
            assert self.resume(staff, "t", {"payload": odd}).status_code == 400
        assert not Event.objects.filter(type="hook_received").exists()
        assert self.resume(staff, "t", {"payload": {"approved": "yes"}}).status_code == 202
        work()
        assert run.result() == {"approved": True}  # as the serializer read it

    @pytest.mark.parametrize("body", [{}, [], None, "x", {"Payload": 1}])
    def test_no_payload_is_400(self, staff: APIClient, body: Any) -> None:
        flows.mailbox.start("t", 1)
        work()
        assert self.resume(staff, "t", body).status_code == 400

    @pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "a\x00b"])
    def test_a_key_that_cannot_be_kept_is_400(self, staff: APIClient, key: str) -> None:
        flows.mailbox.start("t", 1)
        work()
        assert self.resume(staff, "t", {"payload": 1}, **{"Idempotency-Key": key}).status_code == 400
        assert not Event.objects.filter(type="hook_received").exists()

    def test_unknown_ended_and_malformed_tokens_are_404(self, staff: APIClient) -> None:
        flows.mailbox.start("t", 1).cancel(force=True)
        for token in ("t", "unknown", "%00", "x" * 300, "a%20b"):
            assert self.resume(staff, token, {"payload": 1}).status_code == 404
            assert staff.get(f"{ROOT}hooks/{token}/").status_code == 404

    def test_a_token_that_is_freed_from_outside_ends_the_hook_and_not_the_run(self) -> None:
        run = flows.patient.start("t")
        work()
        api.dispose_hook("t")
        work()  # with a body replayed from the log
        assert run.result() == "freed"

    def test_by_a_form_in_the_browser(self) -> None:
        user = User.objects.create_user("staff", is_superuser=True)
        browser = APIClient(headers={"Accept": "text/html"})
        browser.force_login(user)
        run = flows.mailbox.start("t", 1)
        work()
        url = f"{ROOT}hooks/t/resume/"
        page = browser.get(url)
        assert page.status_code == 405
        assert b"<textarea" in page.content
        assert b'name="payload"' in page.content
        refused = browser.post(url, {"payload": "not json"}, format="multipart")
        assert refused.status_code == 400
        accepted = browser.post(url, {"payload": '{"a": 1}'}, format="multipart")
        assert accepted.status_code == 202
        work()
        assert run.result() == [{"a": 1}]


class TestAccess:
    URLS = ("runs/", "schema/", "runs/wrun_00000000000000000000000000/", "hooks/t/")

    def test_closed_unless_the_project_says_otherwise(self) -> None:
        customer = APIClient()
        customer.force_authenticate(User.objects.create_user("customer"))
        for client in (APIClient(), customer):
            for url in self.URLS:
                response = client.get(ROOT + url)
                assert response.status_code == 403
                assert set(response.json()) == {"code", "detail"}
            for url in ("workflows/x/runs/", "hooks/t/resume/"):
                assert client.post(ROOT + url, {}, format="json").status_code == 403

    def test_a_session_needs_the_csrf_token(self) -> None:
        browser = APIClient(enforce_csrf_checks=True)
        browser.force_login(User.objects.create_user("staff", is_superuser=True))
        response = browser.post(f"{ROOT}workflows/{flows.add.name}/runs/", {"args": [1]}, format="json")
        assert (response.status_code, response.json()["code"]) == (403, "permission_denied")

    def test_the_project_s_own_default_applies(self, settings: Any) -> None:
        settings.REST_FRAMEWORK = {"DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"]}
        assert APIClient().get(f"{ROOT}runs/").status_code == 200

    def test_the_setting_wins_and_may_look_at_objects(self, settings: Any) -> None:
        settings.REST_FRAMEWORK = {"DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"]}
        settings.DJANGO_WORKFLOWS = {"API_PERMISSION_CLASSES": ["tests.rest.permissions.OwnRuns"]}
        assert APIClient().get(f"{ROOT}runs/").status_code == 403
        anna = APIClient()
        anna.force_authenticate(User.objects.create_user("anna"))
        mine = flows.mailbox.using(attributes={"customer": "anna"}).start("mine", 1)
        foreign = flows.mailbox.using(attributes={"customer": "ben"}).start("foreign", 1)
        work()
        assert [run["id"] for run in anna.get(f"{ROOT}runs/").json()["results"]] == [mine.id]
        for rest in ("", "events/", "steps/", "hooks/", "waits/", "streams/default/"):
            headers = {"Accept": "application/json"}
            assert anna.get(run_url(mine, rest), headers=headers).status_code == 200
            assert anna.get(run_url(foreign, rest), headers=headers).status_code == 403
        for rest in ("cancel/", "wake/", "retry/"):
            assert anna.post(run_url(foreign, rest)).status_code == 403
        for url in ("hooks/foreign/", "hooks/mine/"):
            assert anna.get(ROOT + url).status_code == (403 if "foreign" in url else 200)
        assert anna.post(f"{ROOT}hooks/foreign/resume/", {"payload": 1}, format="json").status_code == 403
        assert not Event.objects.filter(type__in=["hook_received", "run_cancel_requested"]).exists()

    def test_throttle_scopes(self, staff: APIClient, settings: Any) -> None:
        from django.core.cache import cache

        cache.clear()
        settings.REST_FRAMEWORK = {"DEFAULT_THROTTLE_CLASSES": ["tests.rest.throttling.OnePerMinute"]}
        url = f"{ROOT}workflows/{flows.add.name}/runs/"
        RunStart.throttle_classes = api_settings.DEFAULT_THROTTLE_CLASSES
        try:
            assert staff.post(url, {"args": [1]}, format="json").status_code == 201
            response = staff.post(url, {"args": [1]}, format="json")
            assert (response.status_code, response.json()["code"]) == (429, "throttled")
            assert int(response["Retry-After"]) > 0
        finally:
            del RunStart.throttle_classes
            assert RunStart.throttle_classes == APIView.throttle_classes


class TestErrors:
    def test_every_code_has_its_status(self) -> None:
        assert exceptions.all_codes().keys() <= errors.STATUSES.keys()

    def test_a_class_of_the_project_takes_after_its_base(self) -> None:
        class Gone(exceptions.HookNotFoundError):
            code = "gone"

        assert errors.status_of(Gone()) == 404

    @pytest.mark.parametrize(
        ("method", "url", "status"),
        [("DELETE", "runs/", 405), ("GET", "runs/?format=nonsense", 404), ("GET", "workflows/x/runs/", 405)],
    )
    def test_django_s_and_drf_s_own_errors_look_the_same(
        self, staff: APIClient, method: str, url: str, status: int
    ) -> None:
        response = staff.generic(method, ROOT + url)
        assert response.status_code == status
        assert set(response.json()) == {"code", "detail"}

    def test_a_fault_of_ours_is_raised(self, staff: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
        def explode(*_: Any, **__: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(api, "cancel_run", explode)
        with pytest.raises(ZeroDivisionError):
            staff.post(run_url(flows.sleeper.start(), "cancel/"))


def test_reading_needs_few_queries(staff: APIClient, django_assert_max_num_queries: Callable[[int], Any]) -> None:
    run = flows.steps_and_waits.start(20)
    flows.add.start_many([((i,), {}) for i in range(20)])
    work()
    for url in (f"{ROOT}runs/", run_url(run), run_url(run, "events/"), run_url(run, "steps/")):
        with django_assert_max_num_queries(3):
            staff.get(url)


def test_hooks_are_read_without_their_options(staff: APIClient) -> None:
    """Options may hold a static response; a lookup of the hook need not be able to decode it."""
    flows.greeter.start("t")
    work()
    assert Hook.objects.get().is_webhook
    assert "options" not in staff.get(f"{ROOT}hooks/t/").json()
