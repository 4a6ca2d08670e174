"""What belongs to one run: its events, and the steps, hooks and waits that they made, all in the order of the log."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import Model, OuterRef, Subquery
from rest_framework.request import Request
from rest_framework.response import Response

from ..eventlog import events
from ..models import Event, Hook, Step, Wait
from ..serialization.columns import stored_bytes, with_raw
from . import filters, serializers
from .base import ApiView
from .pagination import LogOrder
from .queries import rows
from .schemas import extend_schema

_REFUSED = {400: serializers.ErrorAnswer, 403: serializers.ErrorAnswer, 404: serializers.ErrorAnswer}


class EventList(ApiView):
    """``api/runs/<id>/events/``."""

    pagination_class = LogOrder
    query_names: ClassVar[tuple[str, ...]] = ("data",)
    serializer_class = serializers.EventAnswer

    @extend_schema(
        operation_id="workflow_run_events",
        parameters=[filters.DATA],
        responses={200: serializers.EventAnswer(many=True), **_REFUSED},
    )
    def get(self, request: Request, run_id: str) -> Response:
        """The log of a run."""
        data = filters.wants_data(request.query_params)
        run = self.get_run(run_id)
        events = rows(Event).filter(run_id=run.pk)
        page: Any = self.paginate_queryset(events.defer("data").annotate(size=stored_bytes("data")))
        if data:
            kept = self.cap([event.size for event in page])
            page = events.filter(sequence__in=[event.sequence for event in kept]).order_by("sequence")
        shown = serializers.EventAnswer(page, many=True, context={"data": data}).data
        return self.get_paginated_response(self.redacted(shown, [run.pk]))


class EntityList(ApiView):
    """Entities in the order of the events that created them: the page is one of those events."""

    pagination_class = LogOrder
    query_names: ClassVar[tuple[str, ...]] = ("data",)
    model: ClassVar[type[Model]]
    creation: ClassVar[str]
    answer: ClassVar[type[serializers.Answer]]

    def list(self, request: Request, run_id: str) -> Response:
        data = filters.wants_data(request.query_params)
        run = self.get_run(run_id)
        entities, payloads = rows(self.model).filter(run_id=run.pk), self.answer.payloads
        its_own = entities.filter(correlation_id=OuterRef("correlation_id")).order_by()
        size = Subquery(its_own.values(size=stored_bytes(*payloads)))
        created = rows(Event).filter(run_id=run.pk, type=self.creation).defer("data").annotate(size=size)
        page: Any = self.paginate_queryset(created)
        if data:
            page = self.cap([event.size or 0 for event in page])
        entities = entities.filter(correlation_id__in=[event.correlation_id for event in page])
        entities = with_raw(entities, *payloads) if data else entities.defer(*payloads)
        by_name: dict[str, Any] = {entity.correlation_id: entity for entity in entities}  # type: ignore[attr-defined]
        found = [by_name[event.correlation_id] for event in page if event.correlation_id in by_name]
        shown = self.answer(found, many=True, context={"data": data}).data
        return self.get_paginated_response(self.redacted(shown, [run.pk]))


class StepList(EntityList):
    """``api/runs/<id>/steps/``."""

    model, creation, answer = Step, events.StepCreated.type, serializers.StepAnswer
    serializer_class = serializers.StepAnswer

    @extend_schema(
        operation_id="workflow_run_steps",
        parameters=[filters.DATA],
        responses={200: serializers.StepAnswer(many=True), **_REFUSED},
    )
    def get(self, request: Request, run_id: str) -> Response:
        """The steps of a run."""
        return self.list(request, run_id)


class HookList(EntityList):
    """``api/runs/<id>/hooks/``."""

    model, creation, answer = Hook, events.HookCreated.type, serializers.HookAnswer
    serializer_class = serializers.HookAnswer

    @extend_schema(
        operation_id="workflow_run_hooks",
        parameters=[filters.DATA],
        responses={200: serializers.HookAnswer(many=True), **_REFUSED},
    )
    def get(self, request: Request, run_id: str) -> Response:
        """The hooks of a run. Anyone who knows a token can resume the hook."""
        return self.list(request, run_id)


class WaitList(EntityList):
    """``api/runs/<id>/waits/``."""

    model, creation, answer = Wait, events.WaitCreated.type, serializers.WaitAnswer
    serializer_class = serializers.WaitAnswer

    @extend_schema(
        operation_id="workflow_run_waits",
        parameters=[filters.DATA],
        responses={200: serializers.WaitAnswer(many=True), **_REFUSED},
    )
    def get(self, request: Request, run_id: str) -> Response:
        """The sleeps of a run."""
        return self.list(request, run_id)
