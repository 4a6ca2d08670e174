"""Handles, hooks, streams and webhooks as values; what they do in a body is tested with the engine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from django_workflows.authoring.handles import RunHandle
from django_workflows.authoring.http import FormFile, Headers, WebhookRequest, WebhookResponse
from django_workflows.authoring.primitives import (
    Hook,
    Webhook,
    Writable,
    continue_as_new,
    create_hook,
    create_webhook,
    get_step_metadata,
    get_workflow_metadata,
    get_writable,
    patched,
    set_attributes,
)
from django_workflows.authoring.runtime import RUNTIME, HookPort, Runtime
from django_workflows.exceptions import WorkflowSandboxError
from django_workflows.serialization import dumps, loads


class Recorder(Runtime):
    """A step's runtime that notes what it is asked."""

    place = "in a step"
    run_id = "wrun_1"

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def set_attributes(self, attributes: dict[str, str | None]) -> None:
        self.asked.append(attributes)

    def write(self, run_id: str, stream: str, value: Any) -> None:
        self.asked.append(("write", run_id, stream, value))

    def close_stream(self, run_id: str, stream: str) -> None:
        self.asked.append(("close", run_id, stream))

    def respond(self, request: WebhookRequest, response: WebhookResponse) -> None:
        self.asked.append((request, response))


@pytest.fixture
def runtime() -> Iterator[Recorder]:
    recorder = Recorder()
    token = RUNTIME.set(recorder)
    yield recorder
    RUNTIME.reset(token)


def test_a_step_may_set_attributes_write_and_answer(runtime: Recorder) -> None:
    set_attributes(customer="c1", amount=3, old=None)
    stream = get_writable("log")
    stream.write({"line": 1})
    stream.close()
    request, response = WebhookRequest("POST"), WebhookResponse(204)
    request.respond_with(response)
    assert runtime.asked == [
        {"customer": "c1", "amount": "3", "old": None},
        ("write", "wrun_1", "log", {"line": 1}),
        ("close", "wrun_1", "log"),
        (request, response),
    ]


@pytest.mark.parametrize(
    "primitive",
    [create_hook, create_webhook, get_step_metadata, get_workflow_metadata, continue_as_new, lambda: patched("x")],
)
def test_what_a_place_does_not_offer_is_refused_with_its_name(runtime: Recorder, primitive: Any) -> None:
    with pytest.raises(WorkflowSandboxError, match="not possible in a step"):
        primitive()


def test_names_of_streams_are_checked(runtime: Recorder) -> None:
    for name, error in (("", ValueError), ("x" * 256, ValueError), ("a\x00", ValueError), (5, TypeError)):
        with pytest.raises(error):
            get_writable(name)  # type: ignore[arg-type]


def test_handles_and_streams_are_values_that_can_be_passed_anywhere() -> None:
    handle, stream = RunHandle[Any]("wrun_1"), Writable("wrun_1", "log")
    assert loads(dumps({"run": handle, "stream": [stream]})) == {"run": handle, "stream": [stream]}
    assert handle != RunHandle("wrun_2")
    assert len({handle, RunHandle[Any]("wrun_1")}) == 1
    assert repr(handle) == "<RunHandle wrun_1>"
    with pytest.raises(TypeError):
        RunHandle(5)  # type: ignore[arg-type]


def test_a_set_of_handles_is_in_the_same_order_in_every_process() -> None:
    code = "from django_workflows.authoring.handles import RunHandle as R; print([h.id for h in {R(str(n)) for n in range(50)}])"
    orders = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(orders) == 1


class Port(HookPort):
    token = "secret"

    def dispose(self) -> None: ...


def test_a_hook_outside_of_its_body_shows_its_token_and_does_nothing_else() -> None:
    for hook in (Hook(Runtime(), Port(), {"a": 1}), Webhook(Runtime(), Port(), None)):
        assert hook.token == "secret"
        assert "secret" not in repr(hook)
        with pytest.raises(WorkflowSandboxError, match="resume_hook"):
            hook.dispose()
    with pytest.raises(WorkflowSandboxError):
        Webhook(Runtime(), Port(), None).url  # noqa: B018


# --- webhooks --------------------------------------------------------------------------------------------------------


def test_a_request_is_a_value() -> None:
    request = WebhookRequest(
        "post",
        "/webhooks/x/",
        {"a": ["1", "2"], "b": [""]},
        {"Content-Type": "application/json", "X-Id": "7"},
        b'\xff{"a": 1}',
        reply_to="rq_1",
    )
    assert request.method == "POST"
    assert request.content_type == "application/json"
    assert request.headers["x-ID"] == "7"
    assert "X-ID" in request.headers
    assert request.headers.get("nothing") is None
    assert list(request.headers) == ["Content-Type", "X-Id"]
    again = loads(dumps({"request": request}))["request"]
    assert again == request
    assert again.reply_to == "rq_1"
    assert "secret" not in repr(WebhookRequest("GET", "/webhooks/secret/"))


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain", "grün".encode(), "grün"),
        ("text/plain; charset=latin-1", "grün".encode("latin-1"), "grün"),
        ("text/plain; charset=UTF-16", "grün".encode("utf-16"), "grün"),
        ("text/plain; charset=klingon", "grün".encode(), "grün"),
        ("text/plain; charset=base64", b"aGk=", "aGk="),
        ("text/plain; charset=idna", b"\xff", "\ufffd"),
        ("", b"\xff\xfe", "\ufffd\ufffd"),
        ("text/plain; charset", b"ok", "ok"),
        ("\r\nX: y", b"ok", "ok"),
    ],
)
def test_text_never_raises(content_type: str, body: bytes, text: str) -> None:
    assert WebhookRequest("POST", body=body, content_type=content_type).text == text


def test_json_reads_the_body_or_raises_value_error() -> None:
    assert WebhookRequest("POST", body='{"ü": [1]}'.encode()).json() == {"ü": [1]}
    for body in (b"", b"{", b"\xff", b"[" * 100_000, b"nope"):
        with pytest.raises(ValueError):
            WebhookRequest("POST", body=body).json()


def test_urlencoded_forms() -> None:
    kind = "application/x-www-form-urlencoded; charset=utf-8"
    request = WebhookRequest("POST", body=b"a=1&a=2&b=&c=%C3%BC+x", content_type=kind)
    assert request.form() == {"a": ["1", "2"], "b": [""], "c": ["ü x"]}


def test_multipart_forms_keep_every_byte() -> None:
    content = bytes(range(256)) + b"\r\n--bound\r\n\n\r"
    body = (
        b'preamble\r\n--limit\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
        b'--limit\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\nContent-Type: image/png\r\n\r\n'
        + content
        + b"\r\n--limit--\r\nepilogue"
    )
    request = WebhookRequest("POST", body=body, content_type='multipart/form-data; boundary="limit"')
    form = request.form()
    assert form == {"note": ["hello"], "file": [FormFile("a.bin", "image/png", content)]}
    assert loads(dumps(form["file"][0])) == form["file"][0]


def _part(disposition: bytes, content: bytes = b"v") -> bytes:
    return b"--x\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n" + content + b"\r\n"


@pytest.mark.parametrize(
    ("disposition", "fields"),
    [
        (b"name*=utf-8''gr%C3%BC%C3%9Fe", {"grüße": ["v"]}),
        (b"name*=iso-8859-1'de'gr%FC%DFe", {"grüße": ["v"]}),
        (b"name=a; filename*=UTF-8''%E2%82%AC.txt", {"a": [FormFile("€.txt", "text/plain", b"v")]}),
    ],
)
def test_names_in_the_extended_form_are_decoded(disposition: bytes, fields: dict[str, list[Any]]) -> None:
    request = WebhookRequest("POST", body=_part(disposition) + b"--x--", content_type="multipart/form-data; boundary=x")
    assert request.form() == fields


@pytest.mark.parametrize("charset", ["punycode", "idna", "utf-7", "zlib", "unicode_escape", "mbcs", "x" * 5_000])
def test_a_sender_cannot_choose_a_codec_of_its_own(charset: str) -> None:
    """Decoded with Python's own tables, some of these take quadratic time in the length of the body."""
    request = WebhookRequest("POST", body=b"-" + b"a9" * 150_000, content_type=f"text/plain; charset={charset}")
    assert request.text == request.body.decode()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("", b"a=1"),
        ("application/json", b"{}"),
        ("multipart/form-data", b"--x--"),
        ("multipart/form-data; boundary=x", b"--x\r\ncut off"),
        ("multipart/form-data; boundary=x", b"--x\r\nno: name\r\n\r\nv\r\n--x--"),
        ("application/x-www-form-urlencoded", b"&".join(b"a=1" for _ in range(20_000))),
        ("multipart/form-data; boundary=x", b"".join(_part(b'name="a"') for _ in range(1_001)) + b"--x--"),
        ("multipart/form-data; boundary=x", _part(b'name="a"; b="' + b"c" * 5_000 + b'"') + b"--x--"),
        (
            "multipart/form-data; boundary=x",
            b"".join(_part(b'name="' + b"c" * 500 + b'"') for _ in range(300)) + b"--x--",
        ),
        (
            "multipart/form-data; boundary=x",
            _part(b'name="a"\r\nContent-Type: text/plain; charset=punycode') + b"--x--",
        ),
        ("multipart/form-data; boundary=x", _part(b"name*=idna''a") + b"--x--"),
    ],
)
def test_what_is_no_form_raises_value_error(content_type: str, body: bytes) -> None:
    with pytest.raises(ValueError):
        WebhookRequest("POST", body=body, content_type=content_type).form()


def test_responses_know_what_their_body_is() -> None:
    assert dict(WebhookResponse(body="hé").headers) == {"Content-Type": "text/plain; charset=utf-8"}
    assert WebhookResponse(body="hé").body == "hé".encode()
    assert WebhookResponse(201, {"id": 1}).body == b'{"id": 1}'
    assert dict(WebhookResponse(201, {"id": 1}).headers) == {"Content-Type": "application/json"}
    assert dict(WebhookResponse(200, b"\x00").headers) == {"Content-Type": "application/octet-stream"}
    assert dict(WebhookResponse(200, b"x", {"content-type": "image/png"}).headers) == {"content-type": "image/png"}
    assert not WebhookResponse(204).headers
    response = WebhookResponse(302, headers={"Location": "/"})
    assert loads(dumps(response)) == response
    assert response != WebhookResponse(302)


@pytest.mark.parametrize("status", [99, 100, 199, 600, True, "200"])
def test_a_status_is_a_number_that_ends_a_response(status: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        WebhookResponse(status)


def test_headers_cannot_be_split() -> None:
    for headers in ({"X": "a\r\nSet-Cookie: b"}, {"X\n": "a"}):
        with pytest.raises(ValueError):
            WebhookResponse(headers=headers)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "a\x00b"),
        ("X-A", "a\x0bb"),
        ("X-A", "a\x7fb"),
        ("X-A", "€"),
        ("X-A", "a" * 9_000),
        ("X-A", 5),
        ("X Y", "v"),
        ("X:Y", "v"),
        ("", "v"),
        ("X-é", "v"),
        (b"X", "v"),
    ],
)
def test_a_header_that_no_server_can_send_is_refused_where_the_answer_is_made(name: Any, value: Any) -> None:
    with pytest.raises(ValueError, match="header"):
        WebhookResponse(headers={name: value})


@pytest.mark.parametrize("status", [204, 205, 304])
def test_an_answer_without_a_body_takes_none(status: int) -> None:
    with pytest.raises(ValueError, match="has no body"):
        WebhookResponse(status, "text")
    assert WebhookResponse(status).body == b""


def test_an_answer_that_an_older_release_stored_unchecked_is_read_and_its_headers_sent_as_far_as_they_can_be() -> None:
    stored = dumps(WebhookResponse(200, "x", {"X-Odd": "replaced"})).replace("X-Odd", "X Odd")
    response = loads(stored)
    assert response.headers["x odd"] == "replaced"
    assert list(response.sendable_headers()) == ["Content-Type"]


def test_headers_compare_whatever_their_case() -> None:
    assert Headers({"A": "1"}) == Headers({"a": "1"})
    assert Headers({"A": "1"}) != Headers({"a": "2"})
    assert Headers() != 5
