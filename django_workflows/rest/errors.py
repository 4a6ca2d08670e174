"""Errors on the wire: ``{"code", "detail"}``, and the one table of HTTP statuses."""

from __future__ import annotations

import re
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404
from django.http.multipartparser import MultiPartParserError
from django.http.request import UnreadablePostError
from rest_framework import exceptions as drf
from rest_framework.response import Response
from rest_framework.views import set_rollback

from ..api.availability import RETRY_AFTER, is_unavailable
from ..exceptions import HookPayloadError, WorkflowError

#: by the error's ``code``. A code that is not here, a project's own, is a conflict: the request fits no state we know.
STATUSES: dict[str, int] = {
    "corrupted_event_log": 409,
    "entity_conflict": 409,
    "fatal": 409,
    "fence_conflict": 409,
    "hook_conflict": 409,
    "hook_not_found": 404,
    "hook_payload": 400,
    "in_atomic_block": 409,
    "invalid_signature": 401,
    "max_events_exceeded": 409,
    "payload_too_large": 413,
    "replay_divergence": 409,
    "retryable": 409,
    "run_cancelled": 409,
    "run_failed": 409,
    "run_not_active": 409,
    "run_not_found": 404,
    "run_timeout": 409,
    "schedule_not_found": 404,
    "serialization": 400,
    "step_failed": 409,
    "step_timeout": 409,
    "stream_closed": 409,
    "worker_lost": 409,
    "workflow": 409,
    "workflow_sandbox": 409,
}
_SURROGATES = re.compile("[\ud800-\udfff]")


def status_of(error: WorkflowError) -> int:
    """The HTTP status of an error of the library; of a class derived from one, that of its nearest known base."""
    for cls in type(error).__mro__:
        if (status := STATUSES.get(getattr(cls, "code", ""))) is not None:
            return status
    return 409


def body_of(error: WorkflowError) -> dict[str, Any]:
    """``{"code", "detail"}`` of an error of the library; with ``errors`` by field where a payload was refused."""
    body: dict[str, Any] = {"code": error.code, "detail": printable(str(error))}
    if isinstance(error, HookPayloadError):
        body["errors"] = error.errors
    return body


def printable(text: str) -> str:
    """What a stranger sent may be quoted in a message: lone surrogates have no UTF-8, NUL has no business there."""
    return _SURROGATES.sub("\ufffd", text).replace("\x00", "\ufffd")


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler for our views. None: not an answer to the caller but a fault of ours, which is raised."""
    if isinstance(error, WorkflowError):
        response = Response(body_of(error), status=status_of(error))
    else:
        known = _as_drf(error)
        if known is None:
            return None
        response = _from_drf(known)
    set_rollback()
    return response


def _as_drf(error: Exception) -> drf.APIException | None:
    """What Django and the web server raise about a request, in DRF's words."""
    if isinstance(error, drf.APIException):
        return error
    if isinstance(error, Http404):
        return drf.NotFound()
    if isinstance(error, PermissionDenied):
        return drf.PermissionDenied()
    if isinstance(error, RequestDataTooBig):
        return TooLarge()
    if isinstance(error, SuspiciousOperation | MultiPartParserError | UnreadablePostError):
        return drf.ParseError()
    if is_unavailable(error):
        return Unavailable()
    return None


class Unavailable(drf.APIException):
    """The database is away, or refuses."""

    status_code = 503
    default_detail = "The database is not available. Nothing was changed, or the change is in doubt: try again later."
    default_code = "unavailable"
    wait = RETRY_AFTER - 1  # as DRF's throttles have it, without the second that is added


class TooLarge(drf.APIException):
    """The request's body is larger than Django accepts."""

    status_code = 413
    default_detail = "The request is larger than this site accepts."
    default_code = "payload_too_large"


def _from_drf(error: drf.APIException) -> Response:
    body: dict[str, Any] = {}
    if isinstance(error, drf.ValidationError):
        body["code"] = _single_code(error)
        body["detail"] = _sentence(error.detail)
        if isinstance(error.detail, dict):
            body["errors"] = error.detail
    else:
        codes = error.get_codes()
        body["code"] = codes if isinstance(codes, str) else error.default_code
        body["detail"] = printable(str(error.detail))
    headers = {}
    if auth_header := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = auth_header
    if (wait := getattr(error, "wait", None)) is not None:
        headers["Retry-After"] = str(int(wait) + 1)
    return Response(body, status=error.status_code, headers=headers)


def _single_code(error: drf.ValidationError) -> str:
    """``invalid``, unless the error is about one thing with a code of its own."""
    codes: Any = error.get_codes()
    if isinstance(codes, list) and len(codes) == 1 and isinstance(codes[0], str):
        return codes[0]
    return "invalid"


def _sentence(detail: Any) -> str:
    if isinstance(detail, list):
        return " ".join(_sentence(item) for item in detail)
    if isinstance(detail, dict):
        return " ".join(f"{name}: {_sentence(item)}" for name, item in detail.items())
    return printable(str(detail))
