"""Who may do what through the API: every kind of user against every route."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from rest_framework.permissions import BasePermission
from rest_framework.test import APIClient

from django_workflows import RunHandle, api
from django_workflows.models import Event, Hook, Run
from django_workflows.rest import WorkflowPermissions
from django_workflows.rest.permissions import has_model_permission
from django_workflows.urls import urlpatterns
from django_workflows.workers.process import WorkerProcess

from . import flows

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = "/workflows/api/"

#: method, route, body, the permission that it takes. Those that end something come last.
ROUTES: list[tuple[str, str, Any, str]] = [
    ("get", "runs/", None, "view_run"),
    ("get", "runs/{run}/", None, "view_run"),
    ("get", "runs/{run}/events/", None, "view_run"),
    ("get", "runs/{run}/steps/", None, "view_run"),
    ("get", "runs/{run}/hooks/", None, "view_run"),
    ("get", "runs/{run}/waits/", None, "view_run"),
    ("get", "runs/{run}/streams/default/", None, "view_run"),
    ("get", "hooks/{token}/", None, "view_run"),
    ("get", "schema/", None, "view_run"),
    ("post", "workflows/{workflow}/runs/", {"args": [1]}, "start_run"),
    ("post", "runs/{run}/retry/", {}, "retry_run"),
    ("post", "runs/{run}/unblock/", {}, "unblock_run"),
    ("post", "runs/{run}/wake/", {}, "wake_run"),
    ("post", "hooks/{token}/resume/", {"payload": 1}, "resume_hook"),
    ("post", "hooks/{token}/dispose/", {}, "dispose_hook"),
    ("post", "runs/{run}/cancel/", {}, "cancel_run"),
    ("post", "runs/{run}/cancel/", {"force": True}, "cancel_run force_cancel_run"),
]
PERMISSIONS = sorted({name for *_, needed in ROUTES for name in needed.split()})
ALL = " ".join(PERMISSIONS)
#: name of the user: what they have
USERS: dict[str, str | None] = {
    "anonymous": None,
    "nothing": "",
    "staff": "",
    **{name: name for name in PERMISSIONS},
    "cancel and force": "cancel_run force_cancel_run",
    "superuser": ALL,
}


@pytest.fixture(autouse=True)
def _waiting(waiting: None) -> None:
    """Workers of these tests run in the test's own thread."""


def work() -> None:
    WorkerProcess(burst=True).run()


def client_of(name: str, permissions: str | None) -> APIClient:
    client = APIClient(headers={"Accept": "application/json"})
    if permissions is None:
        return client
    user = User.objects.create_user(name, is_staff=name == "staff", is_superuser=name == "superuser")
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions.split()))
    client.force_authenticate(user)
    return client


def ask(client: APIClient, method: str, route: str, body: Any, run: RunHandle[Any], token: str) -> Any:
    url = ROOT + route.format(run=run.id, token=token, workflow=flows.add.name)
    return client.get(url) if method == "get" else client.post(url, body, format="json")


class TestMatrix:
    def test_every_user_reaches_exactly_the_routes_of_their_permissions(self, capsys: Any) -> None:
        runs = {name: flows.mailbox.start(f"token-{i}", 9) for i, name in enumerate(USERS)}
        work()
        lines, wrong = [], []
        for i, (name, permissions) in enumerate(USERS.items()):
            client = client_of(name, permissions)
            statuses = []
            for method, route, body, needed in ROUTES:
                status = ask(client, method, route, body, runs[name], f"token-{i}").status_code
                statuses.append(status)
                allowed = permissions is not None and set(needed.split()) <= set(permissions.split())
                if (status in (401, 403)) == allowed or status >= 500:
                    wrong.append((name, method, route, body, status))
            lines.append(f"{name:18}" + " ".join(f"{status:4}" for status in statuses))
        with capsys.disabled():
            sys.stdout.write("\n".join([self.heading(), *lines, ""]))
        assert not wrong

    @staticmethod
    def heading() -> str:
        lines = [f"\n{n:4}: {method.upper()} {route} {body or ''}" for n, (method, route, body, _) in enumerate(ROUTES)]
        return "".join(lines) + f"\n{'':18}" + " ".join(f"{n:4}" for n in range(len(ROUTES)))

    def test_the_matrix_names_every_route_of_runs_and_hooks(self) -> None:
        parameters = {"<str:run_id>": "{run}", "<str:token>": "{token}", "<path:name>/runs": "{workflow}/runs"}
        routes = set()
        for pattern in urlpatterns:
            route = str(pattern.pattern)
            for written, short in parameters.items():
                route = route.replace(written, short)
            routes.add(route.replace("<path:name>", "default"))
        assert {ROOT.removeprefix("/workflows/") + route for _, route, *_ in ROUTES} == {
            route for route in routes if not route.startswith(("webhooks/", "api/schedules/"))
        }


class TestVerbs:
    def test_a_verb_answers_with_the_run_only_to_those_who_may_see_it(self) -> None:
        run = flows.mailbox.start("t", 1)
        only = client_of("only", "cancel_run").post(f"{ROOT}runs/{run.id}/cancel/", {}, format="json")
        assert (only.status_code, only.json()) == (202, {"id": run.id})
        both = client_of("both", "cancel_run view_run").post(f"{ROOT}runs/{run.id}/cancel/", {}, format="json")
        assert (both.status_code, both.json()["workflow"]) == (202, flows.mailbox.name)

    def test_a_start_answers_with_the_run_only_to_those_who_may_see_it(self) -> None:
        client = client_of("starter", "start_run")
        answer = client.post(f"{ROOT}workflows/{flows.add.name}/runs/", {"args": [1]}, format="json")
        assert (answer.status_code, answer.json()) == (201, {"id": Run.objects.get().pk})

    def test_a_resume_shows_its_payload_only_to_those_who_may_see_the_run(self) -> None:
        flows.mailbox.start("t", 2)
        work()
        for permissions, shown in (("resume_hook", False), ("resume_hook view_run", True)):
            client = client_of(permissions, permissions)
            answer = client.post(f"{ROOT}hooks/t/resume/", {"payload": "secret"}, format="json")
            assert answer.status_code == 202
            assert ("secret" in answer.content.decode()) is shown

    def test_force_takes_a_permission_of_its_own_and_writes_nothing_without_it(self) -> None:
        run = flows.mailbox.start("t", 1)
        work()
        answer = client_of("c", "cancel_run").post(f"{ROOT}runs/{run.id}/cancel/", {"force": True}, format="json")
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
        assert not Event.objects.filter(type="run_cancel_requested").exists()

    def test_a_disposed_token_is_free_and_its_body_sees_the_end(self) -> None:
        run = flows.patient.start("t")
        work()
        assert client_of("d", "dispose_hook").post(f"{ROOT}hooks/t/dispose/").status_code == 204
        assert client_of("e", "dispose_hook").post(f"{ROOT}hooks/t/dispose/").status_code == 404
        work()
        assert run.result() == "freed"

    def test_a_run_that_is_not_blocked_cannot_be_unblocked(self) -> None:
        run = flows.mailbox.start("t", 1)
        client = client_of("u", "unblock_run view_run")
        assert client.post(f"{ROOT}runs/{run.id}/unblock/").json()["code"] == "entity_conflict"
        Run.objects.filter(pk=run.id).update(blocked_reason="unknown_workflow", wake_at=None)
        answer = client.post(f"{ROOT}runs/{run.id}/unblock/")
        assert (answer.status_code, answer.json()["id"]) == (202, run.id)
        assert answer.json()["wake_at"] is not None


class Never(BasePermission):
    """No caller is let in."""

    def has_permission(self, request: Any, view: Any) -> bool:
        return False


EitherOr = WorkflowPermissions | Never


class TestClassesOfTheProject:
    @pytest.mark.parametrize(
        "path",
        [
            "rest_framework.permissions.DjangoModelPermissions",
            "rest_framework.permissions.DjangoModelPermissionsOrAnonReadOnly",
            "django_workflows.rest.WorkflowPermissions",
            "tests.rest.test_permissions.EitherOr",
        ],
    )
    def test_model_permissions_are_those_of_the_route(self, settings: Any, path: str) -> None:
        settings.REST_FRAMEWORK = {"DEFAULT_PERMISSION_CLASSES": [path]}
        run = flows.mailbox.start("t", 1)
        url = f"{ROOT}runs/{run.id}/"
        assert APIClient().get(url).status_code == 403
        for name, read, cancelled in (("nothing", 403, 403), ("view_run", 200, 403), ("cancel_run", 403, 202)):
            client = client_of(name, name)
            assert client.get(url).status_code == read
            assert client.post(f"{url}cancel/", {}, format="json").status_code == cancelled

    def test_who_is_no_user_of_django_has_no_permission(self) -> None:
        class Machine:
            is_authenticated = True

        assert not has_model_permission(Machine(), "view_run")
        assert not has_model_permission(AnonymousUser(), "view_run")
        assert not has_model_permission(None, "view_run")

    def test_outside_of_our_routes_the_class_allows_nothing(self) -> None:
        request: Any = type("Request", (), {"user": User(is_superuser=True, is_active=True)})()
        assert not WorkflowPermissions().has_permission(request, None)


def test_the_webhooks_can_be_included_alone() -> None:
    from django_workflows.urls import webhooks

    assert webhooks.app_name == "django_workflows"
    assert {str(pattern.pattern) for pattern in webhooks.urlpatterns} == {
        "webhooks/<str:token>/",
        "webhooks/<str:token>",
    }


class TestIdempotencyKeys:
    START = f"{ROOT}workflows/{flows.add.name}/runs/"

    def start(self, client: APIClient, *args: Any) -> Any:
        return client.post(self.START, {"args": args, "idempotency_key": "k"}, format="json")

    def test_a_start_repeated_by_its_caller_gives_the_run_even_to_one_who_may_not_see_it(self) -> None:
        client = client_of("starter", "start_run")
        first, second = self.start(client, 1), self.start(client, 1)
        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json() == second.json() == {"id": Run.objects.get().pk}

    @pytest.mark.parametrize("arguments", [(1,), (2,)])
    def test_another_caller_s_key_is_a_conflict_that_says_nothing_of_their_run(self, arguments: Any) -> None:
        assert self.start(client_of("anna", "start_run"), 1).status_code == 201
        answer = self.start(client_of("ben", "start_run view_run"), *arguments)
        assert (answer.status_code, answer.json()["code"]) == (409, "entity_conflict")
        assert Run.objects.get().pk not in answer.content.decode()

    @pytest.mark.parametrize("arguments", [(1,), (2,)])
    def test_a_key_of_the_project_s_own_code_finds_its_run_only_for_those_who_may_see_it(self, arguments: Any) -> None:
        run = flows.add.using(idempotency_key="k").start(1)
        blind = self.start(client_of("ben", "start_run"), *arguments)
        assert blind.status_code == 409
        assert run.id not in blind.content.decode()
        seeing = self.start(client_of("anna", "start_run view_run"), 1)
        assert (seeing.status_code, seeing.json()["id"]) == (200, run.id)

    def test_the_project_s_own_code_may_use_every_key(self) -> None:
        started = self.start(client_of("anna", "start_run"), 1).json()
        assert flows.add.using(idempotency_key="k").start(1).id == started["id"]
        flows.mailbox.start("t", 2)
        work()
        first = self.resume(client_of("ben", "resume_hook view_run"), "a").json()
        assert api.resume_hook("t", "b", idempotency_key="k").sequence == first["sequence"]

    def resume(self, client: APIClient, payload: str) -> Any:
        url = f"{ROOT}hooks/t/resume/"
        return client.post(url, {"payload": payload}, format="json", headers={"Idempotency-Key": "k"})

    def test_another_caller_s_key_of_a_resume_is_a_conflict_and_shows_no_payload(self) -> None:
        flows.mailbox.start("t", 2)
        work()
        anna = client_of("anna", "resume_hook view_run")
        first = self.resume(anna, "hers")
        assert self.resume(anna, "hers").json() == first.json()
        answer = self.resume(client_of("ben", "resume_hook view_run"), "his")
        assert (answer.status_code, answer.json()["code"]) == (409, "entity_conflict")
        assert "hers" not in answer.content.decode()
        assert Event.objects.filter(type="hook_received").count() == 1

    def test_callers_without_a_login_share_their_keys_with_no_user(self, settings: Any) -> None:
        settings.REST_FRAMEWORK = {"DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"]}
        assert self.start(client_of("anna", ""), 1).status_code == 201
        assert self.start(APIClient(), 1).status_code == 409


class TestTokens:
    """The token of a webhook is its whole secret: who may not resume hooks must not read it anywhere."""

    ROUTES = ("", "events/", "steps/", "hooks/", "waits/", "streams/default/")

    def test_a_run_that_was_given_the_webhook_of_another_shows_it_only_to_those_who_may_resume_hooks(self) -> None:
        owner = flows.hook_of_secret_token.start()
        work()
        hook = Hook.objects.get(run_id=owner.id)
        given = flows.tell.using(attributes={"callback": hook.token}).start(
            f"https://h.example/workflows/webhooks/{hook.token}/ or {hook.token}"
        )
        work()
        reader, resumer = client_of("reader", "view_run"), client_of("resumer", "view_run resume_hook")
        seen = ""
        for run in (owner, given):
            for route in self.ROUTES:
                for accept in ("application/json", "text/event-stream"):
                    if accept == "application/json" or (route.startswith("streams") and run is given):
                        url, headers = f"{ROOT}runs/{run.id}/{route}", {"Accept": accept}
                        assert hook.token not in read(reader.get(url, headers=headers)), url
                        seen += read(resumer.get(url, headers=headers))
        assert hook.token not in read(reader.get(f"{ROOT}runs/?data=all"))
        assert hook.token not in read(reader.get(f"{ROOT}hooks/{hook.token}/"))
        assert seen.count(hook.token) >= 8


def read(response: Any) -> str:
    assert response.status_code == 200
    if not response.streaming:
        return str(response.content.decode())
    return b"".join(response.streaming_content).decode()
