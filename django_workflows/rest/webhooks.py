"""Webhooks: the door through which other systems reach a run. The token in the URL is the secret."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.core.handlers.asgi import ASGIRequest
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.http.request import RawPostDataException
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions as drf
from rest_framework.request import Request
from rest_framework.settings import api_settings

from .. import api, conf
from ..api.webhooks import find_webhook, is_answered_by_step
from ..authoring.http import Headers, WebhookRequest, WebhookResponse
from ..exceptions import HookNotFoundError, PayloadTooLargeError, WorkflowError
from ..values.ids import validate_token
from . import errors
from .base import contain, hide_from_log

logger = logging.getLogger(__name__)

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
#: never passed on: credentials for this site, which would end up in the run's log
_PRIVATE = frozenset({"cookie", "proxy-authorization"})
#: belong to the connection between the server and its client
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_MAX_FIELDS = 10_000


class _Scope:
    """What a DRF throttle asks its view for."""

    throttle_scope = "workflows_webhook"


def non_atomic(view: Callable[..., Any]) -> Callable[..., Any]:
    """Whatever database has ``ATOMIC_REQUESTS``: what was answered must not be rolled back by a later error."""
    for alias in connections.settings:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


class _Busy(drf.APIException):
    status_code = 503
    default_detail = "Too many callers wait for an answer here; nothing was delivered, try again."
    default_code = "too_many_held"
    wait = 0.0  # Retry-After: 1


_held = 0
_held_lock = threading.Lock()


def _forget() -> None:
    """In a forked child: no caller is held, and another thread may have held the lock."""
    global _held, _held_lock
    _held, _held_lock = 0, threading.Lock()


os.register_at_fork(after_in_child=_forget)


def _take_place(request: HttpRequest, token: str) -> bool:
    """Count a caller who will pin a thread of a WSGI server; at the limit, send it away before anything is written."""
    global _held
    limit = conf.settings.WEBHOOK_MAX_HELD
    if limit is None or isinstance(request, ASGIRequest):
        return False
    if not is_answered_by_step(token):
        return False
    with _held_lock:
        if _held >= limit:
            raise _Busy
        _held += 1
    return True


def _leave_place() -> None:
    global _held
    with _held_lock:
        _held -= 1


async def webhook(request: HttpRequest, token: str) -> HttpResponseBase:
    """Deliver the request to the webhook of this token; HEAD and OPTIONS are answered without a delivery.

    One view for both kinds of server: under WSGI Django runs it in the request's thread.
    """
    try:
        if request.method in ("HEAD", "OPTIONS"):
            await sync_to_async(_find)(request, token)
            response = _render(WebhookResponse(200, headers={"Allow": METHODS}))
        else:
            response = await _deliver(request, token)
    except WorkflowError as error:
        response = JsonResponse(errors.body_of(error), status=errors.status_of(error))
    except Exception as error:  # noqa: BLE001 - it is logged there, without the path
        refused = errors.handle(error, {})
        if refused is None:
            return contain(error, request)
        response = JsonResponse(refused.data, status=refused.status_code)
        if refused.has_header("Retry-After"):
            response["Retry-After"] = refused["Retry-After"]
    if response.status_code >= 400:
        logger.info("A request to the webhook %s… was answered %s.", token[:4], response.status_code)
    hide_from_log(response)
    return response


async def _deliver(request: HttpRequest, token: str) -> HttpResponse:
    incoming = await sync_to_async(_receive)(request, token)
    counted = await sync_to_async(_take_place)(request, token)
    try:
        return _render(await api.aresume_webhook(token, incoming))
    finally:
        if counted:
            _leave_place()


webhook = csrf_exempt(login_not_required(non_atomic(webhook)))


def _find(request: HttpRequest, token: str) -> None:
    """Raises HookNotFoundError unless the token is one of an active webhook."""
    _throttle(request)
    try:
        validate_token(token)
    except ValueError:
        raise HookNotFoundError("No active webhook has this token.") from None
    find_webhook(token)


def _throttle(request: HttpRequest) -> None:
    """The project's throttles apply, with the scope ``workflows_webhook``; the callers have no user."""
    if not api_settings.DEFAULT_THROTTLE_CLASSES:
        return
    view: Any = _Scope()
    wrapped = Request(request, authenticators=[])
    classes: Any = api_settings.DEFAULT_THROTTLE_CLASSES
    for throttle in [throttle_class() for throttle_class in classes]:
        if not throttle.allow_request(wrapped, view):
            raise drf.Throttled(throttle.wait())


def _receive(request: HttpRequest, token: str) -> WebhookRequest:
    """The request as the workflow gets it: the exact bytes, nothing parsed."""
    limit = conf.settings.MAX_PAYLOAD_BYTES
    _find(request, token)
    body = _read_body(request, limit)
    if len(body) > limit:
        raise PayloadTooLargeError(max(len(body), _content_length(request)), limit)
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _PRIVATE}
    return WebhookRequest(
        method=request.method or "GET",
        path=request.path,
        query=_query(request.META.get("QUERY_STRING", "")),
        headers=Headers(headers),
        body=body,
        content_type=request.headers.get("Content-Type", ""),
    )


def _read_body(request: HttpRequest, limit: int) -> bytes:
    """Up to one byte more than the limit. ``DATA_UPLOAD_MAX_MEMORY_SIZE`` is about forms and does not apply."""
    if hasattr(request, "_body"):  # a middleware has read it
        return request.body
    try:
        if _content_length(request) > limit:
            raise PayloadTooLargeError(_content_length(request), limit)
        return bytes(request.read(limit + 1))
    except (OSError, RawPostDataException):
        raise drf.ParseError("The body could not be read.") from None


def _content_length(request: HttpRequest) -> int:
    text = str(request.META.get("CONTENT_LENGTH") or "0")
    return int(text[:18]) if text.isascii() and text.isdecimal() else 0  # whatever is longer is too much


def _query(text: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    raw = text if isinstance(text, str) else bytes(text).decode("latin-1")
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise drf.ParseError("The query string has too many fields.") from None
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _render(answer: WebhookResponse) -> HttpResponse:
    headers = {n: value for n, value in answer.sendable_headers().items() if n.lower() not in _HOP_BY_HOP}
    response = HttpResponse(answer.body, status=answer.status, headers=headers)
    if "content-type" not in answer.headers:
        del response["Content-Type"]
    return response
