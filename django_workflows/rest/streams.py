"""Streams of a run: Server-Sent Events as they are written, or a page of what is there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from rest_framework.exceptions import NotFound
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from ..api import streams
from ..api.availability import is_unavailable
from ..exceptions import WorkflowError
from ..inspection.redaction import Redactor
from ..serialization.plain_json import to_json_text, to_json_value
from . import errors, filters, serializers
from .base import ApiView
from .schemas import OpenApiResponse, extend_schema, header, query

#: seconds after which an idle stream sends a comment, so that nothing on the way takes the connection for dead
KEEP_ALIVE = 15.0
#: what a browser waits before it connects again, in milliseconds
_RETRY = 1000

_HEADERS = {
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx would gather the chunks
    "Content-Encoding": "identity",  # so would Django's own compression
}


class EventStreamRenderer(BaseRenderer):
    """Makes ``text/event-stream`` acceptable; the stream itself is no DRF response, and errors are rendered as JSON."""

    media_type = "text/event-stream"
    format = "sse"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return bytes(JSONRenderer().render(data, "application/json", renderer_context))


class RunStream(ApiView):
    """``api/runs/<id>/streams/<name>/``."""

    serializer_class = serializers.StreamPage
    renderer_classes = (EventStreamRenderer, JSONRenderer)
    has_forms = False
    query_names = ("start_index",)
    throttle_scope = "workflows_stream"

    @extend_schema(
        operation_id="workflow_run_stream",
        parameters=[
            query("start_index", "The first chunk; negative counts back from the tail.", int),
            header("Last-Event-ID", "Index of the last chunk received: reading continues after it."),
        ],
        responses={
            (200, "text/event-stream"): OpenApiResponse(
                str, description="`id` is the index, `data` the value as JSON."
            ),
            (200, "application/json"): serializers.StreamPage,
            (204, "application/json"): OpenApiResponse(description="After `Last-Event-ID` nothing will follow."),
            (400, "application/json"): serializers.ErrorAnswer,
            (403, "application/json"): serializers.ErrorAnswer,
            (404, "application/json"): serializers.ErrorAnswer,
        },
    )
    def get(self, request: Request, run_id: str, name: str) -> HttpResponseBase:
        """A stream of a run: `text/event-stream` follows it to its end, `application/json` gives what is there."""
        start_index = _start_index(request)
        run = self.get_run(run_id)
        if not 0 < len(name) <= 255 or errors.printable(name) != name:
            raise NotFound("A stream's name has 1 to 255 characters.")
        if isinstance(request.accepted_renderer, EventStreamRenderer):
            return _follow(request, run.pk, name, start_index, self.redactor([run.pk]))
        page = streams.read_page(run.pk, name, start_index)
        results = [{"index": index, "value": to_json_value(text)} for index, text in page.chunks]
        results = self.redacted(results, [run.pk])
        return Response({"results": results, "next_index": page.next_index, "done": page.done})

    def handle_exception(self, exc: Exception) -> Response:
        self.request.accepted_renderer = JSONRenderer()
        self.request.accepted_media_type = "application/json"
        return super().handle_exception(exc)


def _start_index(request: Request) -> int:
    last = request.headers.get("Last-Event-ID")
    if last:
        return filters.read_index("Last-Event-ID", last, negative=False) + 1
    return filters.read_index("start_index", request.query_params.get("start_index", "0"))


def _follow(request: Request, run_id: str, name: str, start_index: int, redact: Redactor) -> HttpResponseBase:
    if request.headers.get("Last-Event-ID") and _is_over(streams.read_page(run_id, name, start_index, 1)):
        return HttpResponse(status=204)  # tells an EventSource not to connect again
    under_asgi = isinstance(request._request, ASGIRequest)
    send: Any = _asend if under_asgi else _send
    lines = send(run_id, name, start_index, redact)
    return StreamingHttpResponse(lines, content_type="text/event-stream", headers=_HEADERS)


def _is_over(page: streams.Page) -> bool:
    return page.done and not page.chunks


def _send(run_id: str, name: str, start_index: int, redact: Redactor) -> Iterator[bytes]:
    yield _greeting()
    try:
        for page in streams.follow(run_id, name, start_index, KEEP_ALIVE):
            yield _lines(page, redact)
    except Exception as error:  # noqa: BLE001 - what is no answer to the reader is raised there
        yield _error(error)


async def _asend(run_id: str, name: str, start_index: int, redact: Redactor) -> AsyncIterator[bytes]:
    yield _greeting()
    try:
        async for page in streams.afollow(run_id, name, start_index, KEEP_ALIVE):
            yield await sync_to_async(_lines)(page, redact)
    except Exception as error:  # noqa: BLE001 - what is no answer to the reader is raised there
        yield _error(error)


def _greeting() -> bytes:
    """Something at once, so that headers are sent and the client knows it is connected."""
    return f"retry: {_RETRY}\n\n".encode()


def _lines(page: streams.Page | None, redact: Redactor) -> bytes:
    if page is None:
        return b": still here\n\n"
    lines = [f"id: {index}\ndata: {redact(to_json_text(text))}\n\n" for index, text in page.chunks]
    streams.release()  # it may wait for hours for the next page
    if page.done:
        lines.append("event: end\ndata: {}\n\n")
    return "".join(lines).encode()


def _error(error: Exception) -> bytes:
    """The run was pruned while it was followed, or the database is away: the reader may connect again."""
    if isinstance(error, WorkflowError):
        code = error.code
    elif is_unavailable(error):
        code = errors.Unavailable.default_code
    else:
        raise error
    return f'event: error\ndata: {{"code": "{code}"}}\n\n'.encode()
