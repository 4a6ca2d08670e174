"""Hooks by their tokens: look up, resume."""

from __future__ import annotations

import re
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from .. import api
from ..exceptions import HookNotFoundError
from ..models import Hook
from ..serialization.columns import with_raw
from ..values.ids import validate_token
from . import serializers
from .base import ApiView, contain, hide_from_log
from .permissions import caller_of
from .queries import rows
from .schemas import extend_schema, header

ERROR = serializers.ErrorAnswer
_REFUSED = {400: ERROR, 403: ERROR, 404: ERROR}
_KEY = re.compile("[\x20-\x7e\xa0-\xff]{1,255}")


class HookView(ApiView):
    """Views whose URL holds a token."""

    queryset = Hook.objects.none()

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return hide_from_log(super().dispatch(request, *args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it is logged there, without the path
            return contain(error, request)

    def get_hook(self, token: str) -> Hook:
        """The active hook of this token, if the caller may see its run.

        Raises:
            HookNotFoundError: no active hook has it.
        """
        try:
            validate_token(token)
        except ValueError:
            raise HookNotFoundError("No active hook has this token.") from None
        hook = api.get_hook_by_token(token)
        self.check_object_permissions(self.request, hook.run)
        return hook


class HookDetail(HookView):
    """``api/hooks/<token>/``."""

    serializer_class = serializers.HookAnswer

    @extend_schema(operation_id="workflow_hook_show", responses={200: serializers.HookAnswer, **_REFUSED})
    def get(self, request: Request, token: str) -> Response:
        """The active hook of a token."""
        hook = with_raw(rows(Hook), *serializers.HookAnswer.payloads).defer("options").get(pk=self.get_hook(token).pk)
        return Response(self.redacted(serializers.HookAnswer(hook).data, [hook.run_id]))


class HookResume(HookView):
    """``api/hooks/<token>/resume/``."""

    needs = "resume_hook"
    throttle_scope = "workflows_resume"
    serializer_class = serializers.ResumeRequest

    @extend_schema(
        operation_id="workflow_hook_resume",
        parameters=[header("Idempotency-Key", "A repeated key gives the first event and writes nothing.")],
        request=serializers.ResumeRequest,
        responses={202: serializers.EventAnswer, **_REFUSED, 409: ERROR, 413: ERROR, 415: ERROR},
    )
    def post(self, request: Request, token: str) -> Response:
        """Deliver a payload to the active hook of a token. It is durable when the answer comes."""
        hook = self.get_hook(token)
        given = self.get_serializer(data=request.data)
        given.is_valid(raise_exception=True)
        payload, key = given.validated_data["payload"], _idempotency_key(request)
        event = api.resume_hook(token, payload, idempotency_key=key, caller=caller_of(request))
        answer = serializers.EventAnswer(event, context={"data": self.may("view_run", hook.run)})
        return Response(self.redacted(answer.data, [hook.run_id]), status=202)


class HookDispose(HookView):
    """``api/hooks/<token>/dispose/``."""

    needs = "dispose_hook"
    serializer_class = serializers.NoRequest

    @extend_schema(operation_id="workflow_hook_dispose", request=None, responses={204: None, **_REFUSED, 415: ERROR})
    def post(self, request: Request, token: str) -> Response:
        """Free a token: the hook takes no more payloads, and the body sees its end."""
        self.get_hook(token)
        self.get_serializer(data=request.data).is_valid(raise_exception=True)
        api.dispose_hook(token)
        return Response(status=204)


def _idempotency_key(request: Request) -> str | None:
    key: str | None = request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise ValidationError({"Idempotency-Key": ["1 to 255 printable characters are expected."]})
    return key
