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
from .runtime import Runtime, current

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")  # RFC 9110, token
_HEADER_VALUE = re.compile("[\t\x20-\x7e\x80-\xff]{0,8192}")  # RFC 9110, field-content; 8 KiB is what servers take
#: answers that have no body (RFC 9110, 15.3.5, 15.3.6, 15.4.5): servers cut the connection when they are given one
_BODILESS = frozenset({204, 205, 304})

#: The sender names the charset, so only those that decode in linear time are taken: punycode is quadratic, others are
#: no text at all. The key is the name in lower case with "-"; the value is Python's codec.
_CHARSETS = {
    **dict.fromkeys(("utf-8", "utf8"), "utf-8"),
    **dict.fromkeys(("us-ascii", "ascii"), "ascii"),
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "latin-1", "latin1"), "latin-1"),
    **{name: name for name in ("utf-16", "utf-16le", "utf-16be", "utf-32", "utf-32le", "utf-32be")},
}
#: what a form may hold: fields or parts, bytes of one part's header, bytes of all of them
MAX_FIELDS, MAX_PART_HEADER, MAX_PART_HEADERS = 1_000, 4_096, 131_072
#: characters of a content type that are read; a boundary has 70 at most (RFC 2046)
_MAX_CONTENT_TYPE = 1_000


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

    Raises ``ValueError`` for what no server could send: a status out of range, a body where the status has none, a
    header's name or value with characters that RFC 9110 does not allow.
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
        if self.body and self.status in _BODILESS:
            raise ValueError(f"An answer of status {self.status} has no body; leave it out or use another status.")
        given = {name: _sendable(name, value) for name, value in (headers or {}).items()}
        if self.body and "content-type" not in Headers(given):
            given["Content-Type"] = kind
        self.headers = Headers(given)

    def sendable_headers(self) -> dict[str, str]:
        """The headers that a server can send: one that an older release stored unchecked is left out."""
        return {
            name: value
            for name, value in self.headers.items()
            if _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WebhookResponse):
            return NotImplemented
        return (self.status, self.body, self.headers) == (other.status, other.body, other.headers)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<WebhookResponse {self.status}, {len(self.body)} bytes>"


def _sendable(name: Any, value: Any) -> str:
    """A header's value without the space around it."""
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"A header's name is 1 to 200 letters, digits or -_.!#$%&'*+^`|~ of ASCII, not {name!r}.")
    if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
        raise ValueError(f"The header {name} takes up to 8192 printable characters of Latin-1, not {value!r:.200}.")
    return value.strip(" \t")


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
        """The body as text: never raises, so that a sender cannot fail the run by what it claims.

        Read in the charset that the content type names if that is UTF-8, UTF-16, UTF-32, Latin-1 or ASCII, else as
        UTF-8. What does not fit is replaced.
        """
        codec = _codec(_media_type(self.content_type).get_content_charset()) or "utf-8"
        return self.body.decode(codec, "replace")

    def json(self) -> Any:
        """The body read as JSON. Raises ``ValueError``."""
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("The body is nested too deeply to be read as JSON.") from None

    def form(self) -> dict[str, list[Any]]:
        """The fields of an HTML form, ``{name: [values]}``: text, or :class:`FormFile` for files.

        Raises ``ValueError`` when the body is no form, is cut off, names a charset that is not read here, or
        has more than 1,000 fields or 128 KiB of part headers (4 KiB for one part).
        """
        media = _media_type(self.content_type)
        kind = media.get_content_type() if self.content_type else ""
        if kind == "application/x-www-form-urlencoded":
            return dict(
                parse_qs(self.body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
            )
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

    def _runtime(self) -> Runtime:
        runtime = current()
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
    message["Content-Type"] = " ".join(content_type[:_MAX_CONTENT_TYPE].split())
    return message


def _codec(charset: str | None) -> str | None:
    """Python's codec for a charset that a sender names; None for one that is not read here."""
    return _CHARSETS.get((charset or "utf-8").lower().replace("_", "-"))


def _decode(content: bytes, charset: str | None) -> str:
    codec = _codec(charset)
    if codec is None:
        raise ValueError(f"The charset {charset!r:.80} is not read here: UTF-8, UTF-16, UTF-32, Latin-1 and ASCII are.")
    return content.decode(codec, "replace")


def _multipart(body: bytes, boundary: bytes) -> dict[str, list[Any]]:
    """The parts of RFC 7578, split by hand: the bytes of a file must stay as they are."""
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary, MAX_FIELDS + 2)
    if len(parts) > MAX_FIELDS + 2:
        raise ValueError(f"The multipart body has more than {MAX_FIELDS} parts.")
    if len(parts) < 3 or not parts[-1].startswith(b"--"):
        raise ValueError("The multipart body does not end with its boundary; it was cut off.")
    fields: dict[str, list[Any]] = {}
    left = MAX_PART_HEADERS
    for part in parts[1:-1]:
        head, content = _split_part(part)
        left -= len(head)
        if left < 0:
            raise ValueError(f"The headers of the multipart body's parts have more than {MAX_PART_HEADERS} bytes.")
        name, value = _read_part(head, content)
        fields.setdefault(name, []).append(value)
    return fields


def _split_part(part: bytes) -> tuple[bytes, bytes]:
    end = part.find(b"\r\n\r\n", 0, MAX_PART_HEADER)
    if end < 0:
        raise ValueError(f"A part of the multipart body has no header, or one of more than {MAX_PART_HEADER} bytes.")
    return part[:end], part[end + 4 :]


def _read_part(head: bytes, content: bytes) -> tuple[str, Any]:
    header = email.message_from_bytes(head.lstrip(b" \t\r\n") + b"\r\n\r\n")
    name = _parameter(header, "name")
    if name is None:
        raise ValueError("A part of the multipart body has no name.")
    filename = _parameter(header, "filename")
    if filename is None:
        return name, _decode(content, header.get_content_charset())
    return name, FormFile(filename, header.get_content_type(), content)


def _parameter(header: Message, name: str) -> str | None:
    """A parameter of ``Content-Disposition``; written ``name*=charset'language'text`` (RFC 5987), it is decoded."""
    given: Any = header.get_param(name, header="content-disposition")
    if not isinstance(given, tuple):
        return None if given is None else str(given)
    charset, _language, text = given
    return _decode(text.encode("latin-1", "replace"), charset)


def _read_request(content: dict[str, Any]) -> WebhookRequest:
    return WebhookRequest(**content)


def _write_request(request: WebhookRequest) -> dict[str, Any]:
    content = {name: getattr(request, name) for name in WebhookRequest.__slots__}
    content["headers"] = dict(request.headers)
    return content


register_type(WebhookRequest, encode=_write_request, decode=_read_request, name="webhook_request")


def _read_response(content: list[Any]) -> WebhookResponse:
    """What is stored was checked when it was made, or by an older release that checked less: it always reads."""
    response = WebhookResponse.__new__(WebhookResponse)
    response.status, response.body, headers = content
    response.headers = Headers(headers)
    return response


register_type(
    WebhookResponse,
    encode=lambda response: [response.status, response.body, dict(response.headers)],
    decode=_read_response,
    name="webhook_response",
)
