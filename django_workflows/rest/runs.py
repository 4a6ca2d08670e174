"""Runs: list, look at, start, act on."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import NotFound, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from .. import api
from ..api.starts import is_key_of
from ..authoring.options import StartOptions
from ..authoring.registry import find_workflow
from ..exceptions import EntityConflictError
from ..models import Run
from ..serialization.columns import stored_bytes, with_raw
from . import filters, serializers
from .base import ApiView
from .pagination import NewestFirst
from .permissions import caller_of, visible_runs
from .queries import rows
from .schemas import OpenApiResponse, extend_schema

ERROR = serializers.ErrorAnswer
PAYLOADS = serializers.RunAnswer.payloads
_REFUSED = {400: ERROR, 403: ERROR}
_ACTED = {202: serializers.RunAnswer, **_REFUSED, 404: ERROR, 409: ERROR, 415: ERROR}


def show_run(run_id: str, *, data: bool = True) -> Any:
    """One run as it is now."""
    columns = PAYLOADS if data else ()
    run = with_raw(rows(Run), *columns).get(pk=run_id) if data else rows(Run).defer(*PAYLOADS).get(pk=run_id)
    return serializers.RunAnswer(run, context={"data": data}).data


def show_to_caller(view: ApiView, run: Run) -> Any:
    """The run as it is now, or only its id where the caller may act on it and not see it."""
    return view.redacted(show_run(run.pk), [run.pk]) if view.may("view_run", run) else {"id": run.pk}


class RunList(ApiView):
    """``api/runs/``."""

    pagination_class = NewestFirst
    query_names = ("status", "workflow", "attribute", "since", "until", "data")
    serializer_class = serializers.RunAnswer

    @extend_schema(
        operation_id="workflow_runs_list",
        parameters=[*filters.PARAMETERS, filters.DATA_IF_ASKED],
        responses={200: serializers.RunAnswer(many=True), **_REFUSED},
    )
    def get(self, request: Request) -> Response:
        """Runs, newest first."""
        data = filters.wants_data(request.query_params, unless_asked=False)
        runs = filters.read_filter(request.query_params).runs()
        found = visible_runs(request, self.get_permissions(), runs)
        page: Any = self.paginate_queryset(found.defer(*PAYLOADS))
        if data:
            page = self.with_payloads(page)
        shown = serializers.RunAnswer(page, many=True, context={"data": data}).data
        return self.get_paginated_response(self.redacted(shown, [run.pk for run in page]))

    def with_payloads(self, page: list[Run]) -> list[Any]:
        """The runs of the page that its bytes have room for."""
        runs = rows(Run).filter(pk__in=[run.pk for run in page])
        sizes = dict(runs.values_list("pk", stored_bytes(*PAYLOADS)))
        kept = self.cap([sizes.get(run.pk, 0) for run in page])
        by_id = with_raw(runs, *PAYLOADS).in_bulk([run.pk for run in kept])
        return [by_id[run.pk] for run in kept if run.pk in by_id]


class RunDetail(ApiView):
    """``api/runs/<id>/``."""

    query_names = ("data",)
    serializer_class = serializers.RunAnswer

    @extend_schema(
        operation_id="workflow_run_show",
        parameters=[filters.DATA],
        responses={200: serializers.RunAnswer, **_REFUSED, 404: ERROR},
    )
    def get(self, request: Request, run_id: str) -> Response:
        """One run."""
        run = self.get_run(run_id)
        shown = show_run(run.pk, data=filters.wants_data(request.query_params))
        return Response(self.redacted(shown, [run.pk]))


class RunStart(ApiView):
    """``api/workflows/<name>/runs/``."""

    needs = "start_run"
    throttle_scope = "workflows_start"
    serializer_class = serializers.StartRequest

    @extend_schema(
        operation_id="workflow_run_start",
        request=serializers.StartRequest,
        responses={
            201: serializers.RunAnswer,
            200: OpenApiResponse(serializers.RunAnswer, description="The idempotency key named a run that was there."),
            **_REFUSED,
            404: ERROR,
            409: ERROR,
            413: ERROR,
            415: ERROR,
        },
    )
    def post(self, request: Request, name: str) -> Response:
        """Start a run of a workflow that was declared with `api=True`."""
        workflow = find_workflow(name)
        if workflow is None or not workflow.api:
            raise NotFound("No workflow of this name can be started here.", code="workflow_not_found")
        given = serializers.StartRequest(data=request.data)
        given.is_valid(raise_exception=True)
        call = given.validated_data
        try:
            workflow.check_arguments(call["args"], call["kwargs"])
            options = StartOptions(idempotency_key=call["idempotency_key"])
        except (TypeError, ValueError) as error:
            raise ValidationError([str(error)], code="invalid_arguments") from None
        caller = caller_of(request)
        handle, new = api.start_or_get(workflow, options, call["args"], call["kwargs"], caller=caller)
        run = rows(Run).defer(*PAYLOADS).get(pk=handle.id)
        if not new and not self.may("view_run", run) and not is_key_of(run.pk, caller):
            raise EntityConflictError("A run that you may not see has this idempotency key. Use another key.")
        return Response(show_to_caller(self, run), status=201 if new else 200)


class RunVerb(ApiView):
    """``api/runs/<id>/<verb>/``: something to do to a run."""

    def acted_on(self, run: Run) -> Response:
        return Response(show_to_caller(self, run), status=202)


class RunCancel(RunVerb):
    """``api/runs/<id>/cancel/``."""

    needs = "cancel_run"
    serializer_class = serializers.CancelRequest

    @extend_schema(operation_id="workflow_run_cancel", request=serializers.CancelRequest, responses=_ACTED)
    def post(self, request: Request, run_id: str) -> Response:
        """Ask a run to end; it may clean up first, unless `force` is given, which needs `force_cancel_run`, too."""
        run = self.get_run(run_id)
        given = self.get_serializer(data=request.data)
        given.is_valid(raise_exception=True)
        force = given.validated_data["force"]
        if force and not self.may("force_cancel_run", run):
            raise PermissionDenied("To end a run by force takes the permission force_cancel_run.")
        api.cancel_run(run.pk, given.validated_data["reason"], force=force)
        return self.acted_on(run)


class RunRetry(RunVerb):
    needs = "retry_run"
    serializer_class = serializers.NoRequest
    """``api/runs/<id>/retry/``."""

    @extend_schema(operation_id="workflow_run_retry", request=None, responses=_ACTED)
    def post(self, request: Request, run_id: str) -> Response:
        """Let a failed run go on from its failed step."""
        run = self.get_run(run_id)
        self.get_serializer(data=request.data).is_valid(raise_exception=True)
        api.retry_run(run.pk)
        return self.acted_on(run)


class RunUnblock(RunVerb):
    """``api/runs/<id>/unblock/``."""

    needs = "unblock_run"
    serializer_class = serializers.NoRequest

    @extend_schema(operation_id="workflow_run_unblock", request=None, responses=_ACTED)
    def post(self, request: Request, run_id: str) -> Response:
        """Have a blocked run tried again now."""
        run = self.get_run(run_id)
        self.get_serializer(data=request.data).is_valid(raise_exception=True)
        api.unblock_run(run.pk)
        return self.acted_on(run)


class RunWake(RunVerb):
    """``api/runs/<id>/wake/``."""

    needs = "wake_run"
    serializer_class = serializers.WakeRequest

    @extend_schema(operation_id="workflow_run_wake", request=serializers.WakeRequest, responses=_ACTED)
    def post(self, request: Request, run_id: str) -> Response:
        """End a run's sleeps now, or one of them."""
        run = self.get_run(run_id)
        given = self.get_serializer(data=request.data)
        given.is_valid(raise_exception=True)
        api.wake_run(run.pk, given.validated_data["correlation_id"])
        return self.acted_on(run)
