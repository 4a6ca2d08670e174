"""Webhooks over HTTP: what arrives, what is answered, and what is refused before anything is written."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import AsyncClient, Client
from standardwebhooks.webhooks import Webhook as StandardWebhook

from django_workflows import InAtomicBlockError, WebhookRequest, WebhookResponse, api
from django_workflows.authoring.http import FormFile
from django_workflows.authoring.signatures import InvalidSignatureError
from django_workflows.exceptions import HookNotFoundError
from django_workflows.models import Event, Hook, WebhookCall
from django_workflows.webhooks import calls
from django_workflows.workers.process import WorkerProcess

from . import flows

pytestmark = pytest.mark.django_db(transaction=True)
TIMEOUT = 30
HookExists = Callable[[str], Hook]
BINARY = bytes(range(256))


def path(token: str) -> str:
    return f"/workflows/webhooks/{token}/"


class TestDelivery:
    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "query"])
    def test_any_method(self, worker: WorkerProcess, client: Client, hook_exists: HookExists, method: str) -> None:
        run = flows.receiver.start("t")
        hook_exists("t")
        assert client.generic(method, path("t") + "?a=1&a=2&b=%20x").status_code == 202
        (request,) = run.result(timeout=TIMEOUT)
        assert (request.method, request.path) == (method.upper(), path("t"))
        assert request.query == {"a": ["1", "2"], "b": [" x"]}

    @pytest.mark.parametrize(
        ("content_type", "body"),
        [
            ("application/json", b'{"a": 1}'),
            ("application/json", b'{"broken'),
            ("application/x-www-form-urlencoded", b"a=1&a=2&%FF=%00"),
            ("application/xml; charset=utf-16", "<a/>".encode("utf-16")),
            ("text/plain; charset=no-such-charset", "größe".encode("latin-1")),
            ("text/plain; charset=rot13", b"abc"),
            ("multipart/form-data", b"no boundary at all"),
            ("multipart/form-data; boundary=x", b"--x\r\nbroken"),
            ("application/octet-stream", BINARY),
            ("", BINARY),
            ("", b""),
        ],
    )
    def test_the_exact_bytes(
        self, worker: WorkerProcess, client: Client, hook_exists: HookExists, content_type: str, body: bytes
    ) -> None:
        run = flows.receiver.start("t")
        hook_exists("t")
        assert client.generic("POST", path("t"), body, content_type=content_type).status_code == 202
        (request,) = run.result(timeout=TIMEOUT)
        assert request.body == body
        assert request.content_type == content_type

    def test_forms_and_files(self, worker: WorkerProcess, client: Client, hook_exists: HookExists) -> None:
        from django.core.files.uploadedfile import SimpleUploadedFile

        run = flows.receiver.start("t")
        hook_exists("t")
        client.post(path("t"), {"a": ["1", "2"], "file": SimpleUploadedFile("x.bin", BINARY, "image/png")})
        (request,) = run.result(timeout=TIMEOUT)
        assert request.form() == {"a": ["1", "2"], "file": [FormFile("x.bin", "image/png", BINARY)]}

    def test_with_and_without_the_slash(self, worker: WorkerProcess, client: Client, hook_exists: HookExists) -> None:
        run = flows.receiver.start("t", 2)
        hook_exists("t")
        assert client.post(path("t").rstrip("/")).status_code == client.post(path("t")).status_code == 202
        assert len(run.result(timeout=TIMEOUT)) == 2

    def test_it_is_committed_when_it_is_answered(
        self, waiting: None, client: Client, hook_exists: HookExists, settings: Any
    ) -> None:
        settings.DATABASES["default"]["ATOMIC_REQUESTS"] = connection.settings_dict["ATOMIC_REQUESTS"] = True
        try:
            flows.receiver.start("t")
            WorkerProcess(burst=True).run()
            response = client.post(path("t"), b"x", content_type="text/plain")
            assert response.status_code == 202
            transaction.get_connection().close()  # whatever were still open would be lost here
            assert Event.objects.filter(type="hook_received").count() == 1
        finally:
            settings.DATABASES["default"]["ATOMIC_REQUESTS"] = connection.settings_dict["ATOMIC_REQUESTS"] = False

    def test_credentials_for_this_site_are_not_passed_on(
        self, worker: WorkerProcess, client: Client, hook_exists: HookExists
    ) -> None:
        run = flows.receiver.start("t")
        hook_exists("t")
        client.post(path("t"), headers={"Cookie": "sessionid=secret", "X-Mine": "y", "Authorization": "Bearer z"})
        (request,) = run.result(timeout=TIMEOUT)
        assert "cookie" not in request.headers
        assert (request.headers["x-mine"], request.headers["AUTHORIZATION"]) == ("y", "Bearer z")

    def test_no_csrf_token_and_no_login_are_asked_for(
        self, worker: WorkerProcess, hook_exists: HookExists, settings: Any
    ) -> None:
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
        run = flows.receiver.start("t")
        hook_exists("t")
        strict = Client(enforce_csrf_checks=True)
        assert strict.post(path("t"), {"a": "b"}).status_code == 202
        run.result(timeout=TIMEOUT)

    def test_under_asgi(self, worker: WorkerProcess, hook_exists: HookExists) -> None:
        run = flows.receiver.start("t")
        hook_exists("t")

        async def post() -> int:
            response = await AsyncClient().generic("POST", path("t"), BINARY, content_type="application/octet-stream")
            return int(response.status_code)

        assert asyncio.run(post()) == 202
        assert run.result(timeout=TIMEOUT)[0].body == BINARY


class TestSize:
    def test_too_large_is_413_and_nothing_is_written(self, waiting: None, client: Client, settings: Any) -> None:
        flows.receiver.start("t")
        WorkerProcess(burst=True).run()
        settings.DJANGO_WORKFLOWS = {"MAX_PAYLOAD_BYTES": 5000}
        for size in (5001, 4999, 1_000_000):  # too long, too long once encoded, much too long
            response = client.post(path("t"), b"x" * size, content_type="text/plain")
            assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")
        assert not Event.objects.filter(type="hook_received").exists()
        assert client.post(path("t"), b"x" * 1000, content_type="text/plain").status_code == 202

    def test_django_s_limit_for_forms_does_not_apply(
        self, worker: WorkerProcess, client: Client, settings: Any, hook_exists: HookExists
    ) -> None:
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
        run = flows.receiver.start("t")
        hook_exists("t")
        assert client.post(path("t"), b"x" * 3_000_000, content_type="text/plain").status_code == 202
        assert len(run.result(timeout=TIMEOUT)[0].body) == 3_000_000


class TestNotFound:
    def test_unknown_ended_and_disposed_webhooks_and_hooks_get_the_same_answer(
        self, waiting: None, client: Client
    ) -> None:
        flows.mailbox.start("plain", 1)
        flows.receiver.start("disposed")
        ended = flows.receiver.start("ended")
        WorkerProcess(burst=True).run()
        api.dispose_hook("disposed")
        ended.cancel(force=True)
        before = Event.objects.count()
        answers = set()
        for token in ["unknown", "plain", "ended", "disposed", "not%20a%00token", "x" * 300, "%F0%9F%98%80", "%ff"]:
            for method in ["GET", "POST", "HEAD", "OPTIONS"]:
                response = client.generic(method, path(token), b"x" * 100)
                headers = tuple(sorted((k, v) for k, v in response.items() if k != "Content-Length"))
                answers.add((response.status_code, response.content or None, headers) if method != "HEAD" else None)
                assert response.status_code == 404
        assert len(answers - {None}) == 1
        assert Event.objects.count() == before

    def test_no_token_is_logged_whole(self, waiting: None, client: Client, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        client.post(path("my-secret-token"))
        client.get("/workflows/api/hooks/my-secret-token/")
        assert "my-s…" in caplog.text
        assert "my-secret" not in caplog.text


class TestHeadAndOptions:
    @pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
    def test_they_are_answered_and_never_delivered(
        self, worker: WorkerProcess, client: Client, hook_exists: HookExists, method: str
    ) -> None:
        flows.receiver.start("t")
        hook_exists("t")
        response = client.generic(method, path("t"))
        assert (response.status_code, response.content) == (200, b"")
        assert "POST" in response["Allow"]
        assert not Event.objects.filter(type="hook_received").exists()


class TestStaticResponse:
    def test_it_is_sent_at_once(self, waiting: None, client: Client) -> None:
        flows.greeter.start("t")
        WorkerProcess(burst=True).run()
        response = client.post(path("t"))
        assert (response.status_code, response.json(), response["X-Shop"]) == (201, {"hello": "there"}, "yes")
        assert not response.has_header("Connection")  # belongs to the server
        assert response["Content-Type"] == "application/json"


class TestManualResponse:
    @pytest.mark.parametrize("how", ["sync", "async"])
    def test_a_step_answers(self, worker: WorkerProcess, client: Client, hook_exists: HookExists, how: str) -> None:
        run = flows.oracle.start("t", 2, how)
        hook_exists("t")
        for question in ["why", "when"]:
            response = client.post(path("t"), question, content_type="text/plain")
            assert (response.status_code, response.content) == (200, f"you asked {question}".encode())
        run.result(timeout=TIMEOUT)

    def test_under_asgi(self, worker: WorkerProcess, hook_exists: HookExists) -> None:
        flows.oracle.start("t", 3)
        hook_exists("t")

        async def ask() -> list[bytes]:
            ask_one = AsyncClient().post
            answers = await asyncio.gather(*(ask_one(path("t"), f"{i}", content_type="text/plain") for i in range(3)))
            return [answer.content for answer in answers]

        assert asyncio.run(ask()) == [b"you asked 0", b"you asked 1", b"you asked 2"]

    @pytest.mark.parametrize("under", ["wsgi", "asgi"])
    def test_504_after_the_limit_and_no_answer_after_it(
        self, worker: WorkerProcess, client: Client, hook_exists: HookExists, settings: Any, under: str
    ) -> None:
        settings.DJANGO_WORKFLOWS = {"WEBHOOK_RESPONSE_TIMEOUT": 0.05}
        flows.oracle.start("t", how="never")
        hook_exists("t")
        if under == "wsgi":
            response = client.post(path("t"))
        else:
            response = asyncio.run(AsyncClient().post(path("t")))
        assert (response.status_code, response.json()["code"]) == (504, "response_timeout")
        event = Event.objects.get(type="hook_received")  # delivered all the same
        with pytest.raises(Exception, match="its caller has left"):
            calls.answer_call(event.payload["payload"], WebhookResponse(200))

    def test_a_wsgi_process_keeps_threads_free_where_configured(
        self, waiting: None, client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.DJANGO_WORKFLOWS = {"WEBHOOK_MAX_HELD": 1, "WEBHOOK_RESPONSE_TIMEOUT": 0.01}
        flows.oracle.start("t", 2, "never")
        WorkerProcess(burst=True).run()
        assert client.post(path("t")).status_code == 504
        assert client.post(path("t")).status_code == 504  # the place is free again
        monkeypatch.setattr("django_workflows.rest.webhooks._held", 1)
        response = client.post(path("t"))
        assert (response.status_code, response.json()["code"], response["Retry-After"]) == (503, "too_many_held", "1")
        assert Event.objects.filter(type="hook_received").count() == 2
        assert asyncio.run(AsyncClient().post(path("t"))).status_code == 504  # under ASGI nothing is pinned

    def test_the_first_answer_wins(self, worker: WorkerProcess, client: Client, hook_exists: HookExists) -> None:
        run = flows.oracle.start("t", how="twice")
        hook_exists("t")
        assert client.post(path("t")).content == b"first"
        with pytest.raises(Exception, match="takes no answer"):
            run.result(timeout=TIMEOUT)

    def test_an_answer_at_the_last_moment_is_given(self, waiting: None) -> None:
        run = flows.oracle.start("t", how="never")
        WorkerProcess(burst=True).run()
        now = Event.objects.filter(run_id=run.id).first().created_at  # type: ignore[union-attr]
        WebhookCall.objects.create(id="call_1", run_id=run.id, correlation_id="x", created_at=now)
        calls.answer_call(WebhookRequest("POST", reply_to="call_1"), WebhookResponse(200, "just so"))
        answer = calls.expire_call("call_1")
        assert answer == WebhookResponse(200, "just so")

    def test_a_caller_that_waits_pins_no_database_connection(
        self, worker: WorkerProcess, hook_exists: HookExists, until: Callable[[Callable[[], Any]], Any]
    ) -> None:
        flows.oracle_on_demand.start("t")
        hook_exists("t")
        answers: list[bytes] = []

        def call() -> None:
            answers.append(Client().post(path("t")).content)
            connections.close_all()

        if connection.vendor != "postgresql":
            pytest.skip("counts PostgreSQL's sessions")
        before = sessions()
        callers = [threading.Thread(target=call) for _ in range(10)]
        for thread in callers:
            thread.start()
        until(lambda: WebhookCall.objects.count() == 10)
        until(lambda: sessions() <= before + 3)  # the watcher's and the listener's, however many callers wait
        api.resume_hook("t-go", "now")
        until(lambda: WebhookCall.objects.filter(answered_at__isnull=False).exists())
        for call_id in WebhookCall.objects.filter(answered_at__isnull=True).values_list("pk", flat=True):
            calls.answer_call(WebhookRequest("POST", reply_to=call_id), WebhookResponse(200, "late"))
        for thread in callers:
            thread.join(TIMEOUT)
        assert sorted(answers) == [b"late"] * 9 + [b"now"]

    def test_inside_atomic_it_refuses_before_anything_is_written(self, waiting: None) -> None:
        flows.oracle.start("t", how="never")
        WorkerProcess(burst=True).run()
        with pytest.raises(InAtomicBlockError), transaction.atomic():
            api.resume_webhook("t", WebhookRequest("POST"))
        assert not Event.objects.filter(type="hook_received").exists()


def sessions() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


SECRET = "whsec_" + b64encode(b"a secret of thirty-two bytes....").decode()


class TestSignatures:
    @pytest.fixture(autouse=True)
    def secrets(self, settings: Any) -> None:
        secrets = {"shop": [SECRET, "whsec_" + b64encode(b"old").decode()], "stripe": "sk", "github": "gh"}
        settings.DJANGO_WORKFLOWS = {"WEBHOOK_SECRETS": secrets}

    def standard(self, body: str, message: str = "msg_1") -> dict[str, str]:
        now = datetime.now(UTC)
        signature = StandardWebhook(SECRET).sign(message, now, body)
        return {
            "Webhook-Id": message,
            "Webhook-Timestamp": str(int(now.timestamp())),
            "Webhook-Signature": signature,
        }

    def test_an_unsigned_request_is_401_and_nothing_is_written(self, waiting: None, client: Client) -> None:
        flows.strict_receiver.start("t")
        WorkerProcess(burst=True).run()
        before = Event.objects.count()
        for headers in [{}, {**self.standard("other"), "Webhook-Id": "x"}]:
            response = client.post(path("t"), "body", content_type="text/plain", headers=headers)
            assert (response.status_code, response.json()["code"]) == (401, "invalid_signature")
        assert Event.objects.count() == before

    def test_a_signed_request_is_delivered(
        self, worker: WorkerProcess, client: Client, hook_exists: HookExists
    ) -> None:
        run = flows.strict_receiver.start("t")
        hook_exists("t")
        response = client.post(path("t"), "body", content_type="text/plain", headers=self.standard("body"))
        assert response.status_code == 202
        assert run.result(timeout=TIMEOUT).text == "body"

    def test_a_repeated_delivery_arrives_once(
        self, worker: WorkerProcess, client: Client, hook_exists: HookExists
    ) -> None:
        run = flows.receiver.start("t", 2, "standard:shop")
        hook_exists("t")
        for message in ["msg_1", "msg_1", "msg_1", "msg_2"]:
            sent = client.post(path("t"), message, content_type="text/plain", headers=self.standard(message, message))
            assert sent.status_code == 202
        assert [request.text for request in run.result(timeout=TIMEOUT)] == ["msg_1", "msg_2"]

    def test_stripe_and_github(self, worker: WorkerProcess, client: Client, hook_exists: HookExists) -> None:
        body, now = b'{"id": "evt_1"}', str(int(time.time()))
        digest = hmac.new(b"sk", f"{now}.".encode() + body, hashlib.sha256).hexdigest()
        stripe = {"Stripe-Signature": f"t={now},v1={digest}"}
        github = {"X-Hub-Signature-256": "sha256=" + hmac.new(b"gh", body, hashlib.sha256).hexdigest()}
        for scheme, headers in [("stripe", stripe), ("github", github)]:
            run = flows.receiver.start(scheme, 1, scheme)
            hook_exists(scheme)
            response = client.post(path(scheme), body, content_type="application/json", headers=headers)
            assert response.status_code == 202
            assert run.result(timeout=TIMEOUT)[0].json() == {"id": "evt_1"}

    def test_a_secret_that_is_not_configured_opens_nothing(self, waiting: None, settings: Any) -> None:
        flows.strict_receiver.start("t")
        WorkerProcess(burst=True).run()
        settings.DJANGO_WORKFLOWS = {}
        with pytest.raises(InvalidSignatureError):
            api.resume_webhook("t", WebhookRequest("POST", headers=self.standard(""), body=b""))


class TestFunctions:
    def test_resume_webhook_joins_the_caller_s_transaction(self, waiting: None) -> None:
        flows.receiver.start("t")
        WorkerProcess(burst=True).run()
        with transaction.atomic():
            assert api.resume_webhook("t", WebhookRequest("POST", body=b"x")).status == 202
            transaction.set_rollback(True)
        assert not Event.objects.filter(type="hook_received").exists()

    def test_a_hook_is_not_a_webhook(self, waiting: None) -> None:
        flows.mailbox.start("t", 1)
        WorkerProcess(burst=True).run()
        with pytest.raises(HookNotFoundError):
            api.resume_webhook("t", WebhookRequest("POST"))

    def test_throttles_of_the_project_apply(self, waiting: None, client: Client, settings: Any) -> None:
        from django.core.cache import cache

        cache.clear()
        settings.REST_FRAMEWORK = {
            "DEFAULT_THROTTLE_CLASSES": ["tests.rest.throttling.OnePerMinute"],
        }
        assert client.post(path("unknown")).status_code == 404
        response = client.post(path("unknown"))
        assert (response.status_code, response.json()["code"]) == (429, "throttled")
        assert int(response["Retry-After"]) > 0
