"""The shapes of requests and answers. Answers are read-only: keys are the columns of the tables, times ISO 8601."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any

from rest_framework import serializers
from rest_framework.fields import empty

from ..eventlog.events import TYPES
from ..eventlog.statuses import RunStatus, StepStatus, WaitStatus
from ..serialization.plain_json import to_json_value
from .errors import printable
from .event_schema import payload_schema
from .queries import json_column
from .schemas import extend_schema_field

#: payload keys of an event that no door shows: who knows a run's seed can compute its random numbers
_SECRET = {type: [field.name for field in cls.fields.values() if field.secret] for type, cls in TYPES.items()}


@extend_schema_field({})
class AnyJson(serializers.Field[Any, Any, Any, Any]):
    """Any JSON value. From an HTML form: its text, read as JSON."""

    def get_value(self, dictionary: Mapping[str, Any]) -> Any:
        if not hasattr(dictionary, "getlist"):
            return super().get_value(dictionary)
        text = dictionary.get(str(self.field_name), "")
        return _FormText(text) if text != "" else empty

    def run_validation(self, data: Any = empty) -> Any:
        if data is empty:
            return super().run_validation(data)
        return self.to_internal_value(data)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, _FormText):
            return data
        try:
            return json.loads(data, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise serializers.ValidationError("This is not JSON.", code="invalid") from None

    def to_representation(self, value: Any) -> Any:
        return value


class _FormText(str):
    """Text from an HTML form."""

    __slots__ = ()


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


@extend_schema_field({"nullable": True})
class Payload(serializers.Field[Any, Any, Any, Any]):
    """A payload column as plain JSON; left out under ``?data=none``.

    Not read-only, though it is never written: drf-spectacular marks read-only fields as required.
    """

    def __init__(self) -> None:
        super().__init__(required=False)

    def get_attribute(self, instance: Any) -> Any:
        return json_column(instance, str(self.field_name))

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field({"type": "string", "format": "date-time"})
class Moment(serializers.Field[Any, Any, Any, Any]):
    """A point in time, in UTC, with microseconds."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read_only=True, **kwargs)

    def to_representation(self, value: Any) -> str:
        text: str = value.astimezone(UTC).isoformat(timespec="microseconds")
        return text.replace("+00:00", "Z")


def _text(**kwargs: Any) -> serializers.CharField:
    return serializers.CharField(read_only=True, **kwargs)


def _one_of(values: Iterable[str]) -> serializers.CharField:
    """Text from a fixed list. Within ``anyOf``, since drf-spectacular makes one component of all enums of one name."""
    described = extend_schema_field({"type": "string", "anyOf": [{"enum": sorted(str(value) for value in values)}]})
    return described(type("OneOf", (serializers.CharField,), {}))(read_only=True)  # type: ignore[no-any-return]


def _number() -> serializers.IntegerField:
    return serializers.IntegerField(read_only=True)


class Answer(serializers.Serializer[Any]):
    """Base of what is rendered. ``context["data"]`` False leaves the payloads out."""

    payloads: tuple[str, ...] = ()

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        if not self.context.get("data", True):
            for name in self.payloads:
                fields.pop(name)
        return fields


class RunAnswer(Answer):
    """A run."""

    payloads = ("input", "output", "error")

    id = _text()
    workflow = _text()
    queue = _text()
    priority = _number()
    status = _one_of(RunStatus)
    input = Payload()
    output = Payload()
    error = Payload()
    error_code = _text()
    attributes = serializers.DictField(child=serializers.CharField(), read_only=True)
    idempotency_key = _text(allow_null=True)
    parent = _text(source="parent_id", allow_null=True)  # type: ignore[assignment]
    forked_from = _text()
    continued_from = _text()
    created_at = Moment()
    started_at = Moment(allow_null=True)
    completed_at = Moment(allow_null=True)
    deadline_at = Moment(allow_null=True)
    cancel_requested_at = Moment(allow_null=True)
    wake_at = Moment(allow_null=True)
    expires_at = Moment(allow_null=True)
    last_sequence = _number()
    blocked_reason = _text()


class StepAnswer(Answer):
    """A step of a run. `attempt` counts its starts, also those whose worker vanished."""

    payloads = ("input", "output", "error")

    id = _text()
    run = _text(source="run_id")
    correlation_id = _text()
    name = _text()
    status = _one_of(StepStatus)
    input = Payload()
    output = Payload()
    error = Payload()
    attempt = _number()
    queue = _text()
    available_at = Moment()
    worker = _text(source="worker_id", allow_null=True)
    created_at = Moment()
    started_at = Moment(allow_null=True)
    completed_at = Moment(allow_null=True)


class HookAnswer(Answer):
    """A hook of a run."""

    payloads = ("metadata",)

    id = _text()
    run = _text(source="run_id")
    correlation_id = _text()
    token = _text()
    is_webhook = serializers.BooleanField(read_only=True)
    metadata = Payload()
    created_at = Moment()
    disposed_at = Moment(allow_null=True)


class WaitAnswer(Answer):
    """A sleep of a run."""

    id = _text()
    run = _text(source="run_id")
    correlation_id = _text()
    status = _one_of(WaitStatus)
    due_at = Moment()
    created_at = Moment()
    completed_at = Moment(allow_null=True)


@extend_schema_field(payload_schema())
class EventPayload(Payload):
    """An event's data as plain JSON, without what is never shown."""

    def get_attribute(self, instance: Any) -> Any:
        payload = to_json_value(instance.data)
        for name in _SECRET.get(instance.type, ()):
            payload.pop(name, None)
        return payload


class EventAnswer(Answer):
    """An event of a run's log. What `payload` holds depends on the type."""

    payloads = ("payload",)

    run = _text(source="run_id")
    sequence = _number()
    type = _one_of(TYPES)
    correlation_id = _text()
    payload = EventPayload()
    created_at = Moment()


class Chunk(serializers.Serializer[Any]):
    """One value of a stream."""

    index = serializers.IntegerField()
    value = AnyJson()


class StreamPage(serializers.Serializer[Any]):
    """What is there of a stream."""

    results = Chunk(many=True)
    next_index = serializers.IntegerField(help_text="Where the next page begins.")
    done = serializers.BooleanField(help_text="The stream is closed, or its run has ended: nothing will follow.")


class ErrorAnswer(serializers.Serializer[Any]):
    """Every error."""

    code = serializers.CharField(help_text="What machines test.")
    detail = serializers.CharField(help_text="A sentence for people.")
    errors = AnyJson(required=False, help_text="Per field, where refused.")  # type: ignore[assignment]


# --- requests --------------------------------------------------------------------------------------------------------


#: what DRF's own forms send along
_OF_FORMS = frozenset({"csrfmiddlewaretoken", "_content", "_content_type", "_method"})


class GivenBody(serializers.Serializer[Any]):
    """Base of what is read. A key that means nothing here is refused: it may be one that is misspelt."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = set(self.fields) | (_OF_FORMS if hasattr(data, "getlist") else set())
            unknown = [name for name in data if name not in known]
            if unknown:
                names = ", ".join(self.fields) or "none"
                sentence = f"This key is not known here; those that are: {names}."
                raise serializers.ValidationError({printable(str(name)[:100]): [sentence] for name in unknown[:10]})
        return super().to_internal_value(data)


class StartRequest(GivenBody):
    """How to start a run. With an idempotency key that is taken, the run that has it is returned."""

    args = AnyJson(default=list, help_text="Positional arguments: a list.")
    kwargs = AnyJson(default=dict, help_text="Named arguments: an object.")
    idempotency_key = serializers.CharField(
        max_length=255, required=False, allow_null=True, default=None, trim_whitespace=False
    )

    def validate_args(self, value: Any) -> Any:
        if not isinstance(value, list):
            raise serializers.ValidationError("A list is expected.")
        return value

    def validate_kwargs(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise serializers.ValidationError("An object is expected.")
        return value


class CancelRequest(GivenBody):
    """How to cancel a run."""

    reason = serializers.CharField(
        max_length=1000, required=False, allow_null=True, allow_blank=True, default=None, trim_whitespace=False
    )
    force = serializers.BooleanField(default=False, help_text="End the run at once, without its cleanup.")


class NoRequest(GivenBody):
    """No parameters."""


class WakeRequest(GivenBody):
    """Which sleeps to end."""

    correlation_id = serializers.CharField(
        max_length=255, required=False, allow_null=True, default=None, help_text="Of one wait; left out: all of them."
    )


class ResumeRequest(GivenBody):
    """What to deliver."""

    payload = AnyJson(style={"base_template": "textarea.html", "rows": 6}, help_text="Any JSON value.")
