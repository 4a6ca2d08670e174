"""What the OpenAPI document says of an event's payload: an object per event type, made from the declared fields."""

from __future__ import annotations

from typing import Any

from ..eventlog.events import TYPES, Event, FieldTraits, Shape

_BY_ANNOTATION: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "bool": {"type": "boolean"},
    "datetime": {"type": "string", "format": "date-time"},
}
_BY_SHAPE: dict[Shape, dict[str, Any]] = {
    Shape.VALUE: {},
    Shape.TEXT: {"type": "string"},
    Shape.TOKEN: {"type": "string"},
    Shape.ARGS: {"type": "array", "items": {}},
    Shape.MAPPING: {"type": "object", "additionalProperties": {}, "nullable": True},
    Shape.ERROR: {"type": "object", "additionalProperties": {}, "nullable": True},
}


def payload_schema() -> dict[str, Any]:
    """Any of the payloads; which one, the event's ``type`` says."""
    return {"type": "object", "anyOf": [_of_event(cls) for cls in TYPES.values()]}


def shown_fields(cls: type[Event]) -> list[FieldTraits]:
    """The fields that the REST API shows."""
    return [field for field in cls.fields.values() if not field.secret]


def _of_event(cls: type[Event]) -> dict[str, Any]:
    fields = shown_fields(cls)
    schema: dict[str, Any] = {
        "type": "object",
        "title": cls.type,
        "description": (cls.__doc__ or "").partition(" Written by ")[0],
        "properties": {field.name: _of_field(field) for field in fields},
    }
    required = [field.name for field in fields if not field.optional]
    return {**schema, "required": required} if required else schema


def _of_field(field: FieldTraits) -> dict[str, Any]:
    annotation, _, nothing = field.type.partition(" | ")
    schema = _BY_SHAPE[field.personal] if field.personal is not None else _BY_ANNOTATION.get(annotation, {})
    nullable = {"nullable": True} if nothing and schema else {}
    return {**schema, **nullable, "description": field.doc}
