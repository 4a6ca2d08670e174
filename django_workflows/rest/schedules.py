"""Schedules: list, look at, create, change, and act on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from rest_framework import serializers as drf
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from ..api import schedules as api
from ..authoring.registry import find_workflow
from ..authoring.schedules import CATCHUPS, MAX_NAME, OVERLAPS
from ..inspection.keyset import Order
from ..models import Schedule
from ..serialization.columns import with_raw
from . import serializers
from .base import ApiView
from .pagination import KeysetPagination
from .permissions import permissions_for
from .queries import rows
from .schemas import extend_schema

ERROR = serializers.ErrorAnswer
_REFUSED = {400: ERROR, 403: ERROR}
_ACTED = {**_REFUSED, 404: ERROR, 409: ERROR, 415: ERROR}
#: ticks that a schedule's page shows
_TICKS = 20


class ByName(KeysetPagination):
    """Schedules by name."""

    order = Order(("name",))


class TickAnswer(drf.Serializer[Any]):
    """One instant: the run that it made, or why it made none."""

    at = serializers.Moment()
    run = drf.CharField(source="run_id", read_only=True, allow_null=True)
    skipped = drf.CharField(read_only=True)


class ScheduleAnswer(serializers.Answer):
    """A schedule. `input` is what its runs are started with."""

    payloads = ("input",)

    name = drf.CharField(read_only=True)
    workflow = drf.CharField(read_only=True)
    spec = drf.DictField(read_only=True)
    tz = drf.CharField(read_only=True)
    overlap = drf.ChoiceField(OVERLAPS, read_only=True)
    catchup = drf.ChoiceField(CATCHUPS, read_only=True)
    catchup_window = drf.FloatField(read_only=True, allow_null=True)
    jitter = drf.FloatField(read_only=True)
    pause_on_failure = drf.BooleanField(read_only=True)
    declared = drf.BooleanField(read_only=True)
    paused_at = serializers.Moment(allow_null=True)
    paused_reason = drf.CharField(read_only=True)
    next_at = serializers.Moment(allow_null=True)
    last_at = serializers.Moment(allow_null=True)
    last_run = drf.CharField(source="last_run_id", read_only=True, allow_null=True)
    created_at = serializers.Moment()
    input = serializers.Payload()


class Definition(serializers.GivenBody):
    """When a schedule fires and what it starts. Durations are seconds or text such as "2m"."""

    cron = drf.CharField(required=False, allow_null=True, max_length=255)
    every = serializers.AnyJson(required=False, help_text="An interval, in place of `cron`.")
    tz = drf.CharField(required=False, allow_null=True, max_length=255)
    args = serializers.AnyJson(required=False)
    kwargs = serializers.AnyJson(required=False)
    overlap = drf.CharField(required=False)
    catchup = drf.CharField(required=False)
    catchup_window = serializers.AnyJson(required=False)
    jitter = serializers.AnyJson(required=False)
    pause_on_failure = drf.BooleanField(required=False)


class NewSchedule(Definition):
    """A schedule of a workflow that was declared with `api=True`."""

    name = drf.CharField(max_length=MAX_NAME, trim_whitespace=False)
    workflow = drf.CharField(max_length=255)


class PauseRequest(serializers.GivenBody):
    """Why the schedule is paused."""

    reason = drf.CharField(required=False, allow_blank=True, default="", max_length=1000)


class BackfillRequest(serializers.GivenBody):
    """The span of the past whose ticks are made: `since <= instant < until`."""

    since = drf.DateTimeField()
    until = drf.DateTimeField()


def show(name: str) -> Any:
    """One schedule as it is now, with its next and its last ticks."""
    handle = api.get_schedule(name)
    row = with_raw(rows(Schedule), *ScheduleAnswer.payloads).get(name=name)
    moment = serializers.Moment()
    return {
        **ScheduleAnswer(row).data,
        "preview": [moment.to_representation(instant) for instant in handle.preview(10)],
        "ticks": TickAnswer(row.ticks.order_by("-at")[:_TICKS], many=True).data,
    }


class ScheduleView(ApiView):
    """Views of schedules: each method has a model permission of its own."""

    needs_by_method: ClassVar[dict[str, str]] = {"GET": "view_schedule"}
    queryset: Any = Schedule.objects.none()

    def get_permissions(self) -> list[BasePermission]:
        method = "GET" if self.request.method in ("HEAD", "OPTIONS") else str(self.request.method)
        return permissions_for(self.needs_by_method.get(method, "change_schedule"))

    def answer(self, name: str, status: int = 200) -> Response:
        """The schedule as it is now, or only its name where the caller may not see it."""
        shown = self.redacted(show(name)) if self.may("view_schedule") else {"name": name}
        return Response(shown, status=status)

    def given(self, shape: type[Any], request: Request, **options: Any) -> dict[str, Any]:
        body = shape(data=request.data, **options)
        body.is_valid(raise_exception=True)
        return dict(body.validated_data)


def _sayable(call: Callable[[], Any]) -> Any:
    """A definition that cannot be used is a 400 with all that is wrong."""
    try:
        return call()
    except (TypeError, ValueError) as error:
        raise ValidationError([str(error)], code="invalid_schedule") from None


class ScheduleList(ScheduleView):
    """``api/schedules/``."""

    pagination_class = ByName
    serializer_class = ScheduleAnswer
    needs_by_method = {"GET": "view_schedule", "POST": "add_schedule"}

    @extend_schema(operation_id="workflow_schedules_list", responses={200: ScheduleAnswer(many=True), **_REFUSED})
    def get(self, request: Request) -> Response:
        """Schedules by name, without what they start their runs with."""
        page = self.paginate_queryset(Schedule.objects.defer("input", "options", "context"))
        return self.get_paginated_response(ScheduleAnswer(page, many=True, context={"data": False}).data)

    @extend_schema(
        operation_id="workflow_schedule_create",
        request=NewSchedule,
        responses={201: ScheduleAnswer, **_REFUSED, 404: ERROR, 409: ERROR, 415: ERROR},
    )
    def post(self, request: Request) -> Response:
        """Create a schedule of a workflow that was declared with `api=True`."""
        body = self.given(NewSchedule, request)
        workflow = find_workflow(body.pop("workflow"))
        if workflow is None or not workflow.api:
            raise NotFound("No workflow of this name can be started here.", code="workflow_not_found")
        handle = _sayable(lambda: api.create_schedule(body.pop("name"), workflow, **body))
        return self.answer(handle.name, 201)


class ScheduleDetail(ScheduleView):
    """``api/schedules/<name>/``."""

    serializer_class = ScheduleAnswer
    needs_by_method = {"GET": "view_schedule", "PATCH": "change_schedule", "DELETE": "delete_schedule"}

    @extend_schema(operation_id="workflow_schedule_show", responses={200: ScheduleAnswer, **_REFUSED, 404: ERROR})
    def get(self, request: Request, name: str) -> Response:
        """One schedule, its next ten ticks, and its last ones."""
        return self.answer(name)

    @extend_schema(
        operation_id="workflow_schedule_update", request=Definition, responses={200: ScheduleAnswer, **_ACTED}
    )
    def patch(self, request: Request, name: str) -> Response:
        """Change a schedule that is not declared in the code."""
        changes = self.given(Definition, request, partial=True)
        _sayable(lambda: api.get_schedule(name).update(**changes))
        return self.answer(name)

    @extend_schema(operation_id="workflow_schedule_delete", responses={204: None, **_ACTED})
    def delete(self, request: Request, name: str) -> Response:
        """Remove a schedule that is not declared in the code. Its runs stay."""
        api.get_schedule(name).delete()
        return Response(status=204)


class SchedulePause(ScheduleView):
    """``api/schedules/<name>/pause/``."""

    serializer_class = PauseRequest
    needs_by_method = {"GET": "view_schedule", "POST": "pause_schedule"}

    @extend_schema(
        operation_id="workflow_schedule_pause", request=PauseRequest, responses={202: ScheduleAnswer, **_ACTED}
    )
    def post(self, request: Request, name: str) -> Response:
        """No ticks until it is resumed; those that come meanwhile are not made up."""
        api.get_schedule(name).pause(self.given(PauseRequest, request)["reason"])
        return self.answer(name, 202)


class ScheduleResume(ScheduleView):
    """``api/schedules/<name>/resume/``."""

    serializer_class = serializers.NoRequest
    needs_by_method = {"GET": "view_schedule", "POST": "pause_schedule"}

    @extend_schema(operation_id="workflow_schedule_resume", request=None, responses={202: ScheduleAnswer, **_ACTED})
    def post(self, request: Request, name: str) -> Response:
        """Continue from now."""
        self.given(serializers.NoRequest, request)
        api.get_schedule(name).resume()
        return self.answer(name, 202)


class ScheduleTrigger(ScheduleView):
    """``api/schedules/<name>/trigger/``."""

    serializer_class = serializers.NoRequest
    needs_by_method = {"GET": "view_schedule", "POST": "trigger_schedule"}

    @extend_schema(operation_id="workflow_schedule_trigger", request=None, responses={202: TickAnswer, **_ACTED})
    def post(self, request: Request, name: str) -> Response:
        """Start a run now, paused or not. Answers its id."""
        self.given(serializers.NoRequest, request)
        return Response({"run": api.get_schedule(name).trigger().id}, status=202)


class ScheduleBackfill(ScheduleView):
    """``api/schedules/<name>/backfill/``."""

    serializer_class = BackfillRequest
    needs_by_method = {"GET": "view_schedule", "POST": "trigger_schedule"}

    @extend_schema(
        operation_id="workflow_schedule_backfill", request=BackfillRequest, responses={202: TickAnswer, **_ACTED}
    )
    def post(self, request: Request, name: str) -> Response:
        """Make the ticks of a span of the past that were not made. Answers their runs' ids."""
        span = self.given(BackfillRequest, request)
        handle = api.get_schedule(name)
        made = _sayable(lambda: handle.backfill(span["since"], span["until"]))
        return Response({"runs": [run.id for run in made]}, status=202)
