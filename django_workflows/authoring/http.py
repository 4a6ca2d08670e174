"""What a webhook receives and what it answers: plain values, without a web framework."""

from __future__ import annotations

import email
import json
import re
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from operator import index
from typing import Any
from urllib.parse import parse_qs

from ..exceptions import WorkflowSandboxError
from ..serialization import register_type
from . import runtime as context

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token
_HEADER_VALUE = re.compile("[\t\x20-\x7e\x80-\xff]*")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


class Headers(Mapping[str, str]):
    """HTTP headers by name, whatever the case it is asked for in."""

    __slots__ = ("_given",)

    def __init__(self, given: Mapping[str, str] | None = None) -> None:
        self._given = {name.lower(): (name, value) for name, value in (given or {}).items()}

    def __getitem__(self, name: str) -> str:
        return self._given[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._given.values())

    def __len__(self) -> int:
        return len(self._given)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._given

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return {n: v for n, (_, v) in self._given.items()} == {n: v for n, (_, v) in other._given.items()}

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({dict(self)!r})"


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file of a multipart form. ``filename`` is what the sender claims."""

    filename: str
    content_type: str
    content: bytes


class WebhookResponse:
    """What the caller of a webhook gets: ``status`` (200 to 599), ``body`` (text is sent as UTF-8), ``headers``.

    Other bodies are sent as JSON. The content type defaults to what the body is.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int = 200, body: Any = b"", headers: Mapping[str, str] | None = None) -> None:
        self.status = index(status)
        if not 200 <= self.status <= 599:
            raise ValueError(f"status is a number from 200 to 599, not {status!r}.")
        kind = "application/octet-stream"
        if isinstance(body, str):
            body, kind = body.encode(), "text/plain; charset=utf-8"
        elif not isinstance(body, (bytes, bytearray, memoryview)):
            body, kind = json.dumps(body).encode(), "application/json"
        self.body = bytes(body)
        given = dict(headers or {})
        for name, value in given.items():
            if "\n" in name + value or "\r" in name + value:
                raise ValueError(f"A header is text without line breaks, not {name!r}: {value!r}.")
        if self.body and "content-type" not in Headers(given):
            given["Content-Type"] = kind
        self.headers = Headers(given)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WebhookResponse):
            return NotImplemented
        return (self.status, self.body, self.headers) == (other.status, other.body, other.headers)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<WebhookResponse {self.status}, {len(self.body)} bytes>"


class WebhookRequest:
    """A request that a webhook received.

    ``query``: ``{name: [values]}``; ``headers``: case-insensitive; ``body``: the exact bytes. ``reply_to`` names the
    caller that waits for an answer, or is None. The request can be passed to steps; a step answers a caller that is
    held (``respond_with="manual"``) with :meth:`respond_with`.
    """

    __slots__ = ("body", "content_type", "headers", "method", "path", "query", "reply_to")

    def __init__(
        self,
        method: str,
        path: str = "/",
        query: Mapping[str, list[str]] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        content_type: str | None = None,
        reply_to: str | None = None,
    ) -> None:
        self.method = method.upper()
        self.path = path
        self.query = {name: list(values) for name, values in (query or {}).items()}
        self.headers = headers if isinstance(headers, Headers) else Headers(headers)
        self.body = bytes(body)
        self.content_type = self.headers.get("content-type", "") if content_type is None else content_type
        self.reply_to = reply_to

    @property
    def text(self) -> str:
        """The body as text, in the charset that it claims (else UTF-8). What does not fit is replaced: never raises."""
        charset = _media_type(self.content_type).get_content_charset() or "utf-8"
        try:
            return self.body.decode(charset, errors="replace")
        except (LookupError, ValueError):  # no such charset, or one that is no text encoding
            return self.body.decode("utf-8", errors="replace")

    def json(self) -> Any:
        """The body read as JSON. Raises ``ValueError``."""
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("The body is nested too deeply to be read as JSON.") from None

    def form(self) -> dict[str, list[Any]]:
        """The fields of an HTML form, ``{name: [values]}``: text, or :class:`FormFile` for files.

        Raises ``ValueError`` when the body is no form.
        """
        media = _media_type(self.content_type)
        kind = media.get_content_type() if self.content_type else ""
        if kind == "application/x-www-form-urlencoded":
            return dict(parse_qs(self.body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=10_000))
        if kind == "multipart/form-data":
            boundary = media.get_boundary()
            if not boundary:
                raise ValueError("The multipart body names no boundary.")
            return _multipart(self.body, boundary.encode())
        raise ValueError(f"The body is no form: its content type is {self.content_type or 'not given'!r}.")

    def respond_with(self, response: WebhookResponse) -> None:
        """Answer the caller that is held. From a ``def`` step; in an ``async def`` one use :meth:`arespond_with`.

        Raises ``EntityConflictError`` when it was answered before, or has been sent away after the time limit.
        """
        self._runtime().respond(self, response)

    def arespond_with(self, response: WebhookResponse) -> Awaitable[None]:
        return self._runtime().arespond(self, response)

    def _runtime(self) -> context.Runtime:
        runtime = context.current()
        if runtime is None:
            raise WorkflowSandboxError("A webhook is answered in a step that a worker runs; nothing runs this code.")
        return runtime

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WebhookRequest):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<WebhookRequest {self.method} {self.content_type or 'no content type'}, {len(self.body)} bytes>"


def _media_type(content_type: str) -> Message:
    message = Message()
    message["Content-Type"] = " ".join(content_type.split())
    return message


def _multipart(body: bytes, boundary: bytes) -> dict[str, list[Any]]:
    """The parts of RFC 7578, split by hand: the bytes of a file must stay as they are."""
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(parts) < 3 or not parts[-1].startswith(b"--"):
        raise ValueError("The multipart body does not end with its boundary; it was cut off.")
    fields: dict[str, list[Any]] = {}
    for part in parts[1:-1]:
        head, separator, content = part.partition(b"\r\n\r\n")
        header = email.message_from_bytes(head.lstrip(b" \t\r\n") + b"\r\n\r\n")
        name = header.get_param("name", header="content-disposition")
        if not separator or name is None:
            raise ValueError("A part of the multipart body has no name.")
        filename = header.get_filename()
        value: Any
        if filename is None:
            value = content.decode(header.get_content_charset() or "utf-8", "replace")
        else:
            value = FormFile(filename, header.get_content_type(), content)
        fields.setdefault(str(name), []).append(value)
    return fields


def _read_request(content: dict[str, Any]) -> WebhookRequest:
    return WebhookRequest(**content)


def _write_request(request: WebhookRequest) -> dict[str, Any]:
    content = {name: getattr(request, name) for name in WebhookRequest.__slots__}
    content["headers"] = dict(request.headers)
    return content


register_type(WebhookRequest, encode=_write_request, decode=_read_request, name="webhook_request")
register_type(
    WebhookResponse,
    encode=lambda response: [response.status, response.body, dict(response.headers)],
    decode=lambda content: WebhookResponse(*content),
    name="webhook_response",
)
