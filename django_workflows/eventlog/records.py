"""A row of a log, as everything that reads logs sees it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from ..exceptions import CorruptedEventLogError, SerializationError
from ..serialization import Encoded, loads
from .traits import DECIDES, TYPES, Traits


class Record:
    """One row of a log: ``sequence`` (from 1, dense), ``type``, ``correlation_id``, ``data`` (text), ``created_at``."""

    __slots__ = ("_payload", "correlation_id", "created_at", "data", "sequence", "type")

    def __init__(self, sequence: int, type: str, correlation_id: str, data: str, created_at: datetime) -> None:
        self.sequence, self.type, self.correlation_id = sequence, type, correlation_id
        self.data, self.created_at = data, created_at
        self._payload: dict[str, Any] | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """``data`` decoded: the event's fields by name. Raises as :meth:`decode` does."""
        if self._payload is None:
            self._payload = self.decode()
        return self._payload

    def decode(self) -> dict[str, Any]:
        """The event's fields by name, a new copy at every call.

        Raises:
            CorruptedEventLogError: the data is no JSON. SerializationError: it names a class that is not to be found here.
        """
        try:
            fields: dict[str, Any] = loads(self.data)
        except SerializationError as error:
            if not isinstance(error.__cause__, json.JSONDecodeError):
                raise
            raise CorruptedEventLogError(f"Event {self.sequence} ({self.type}) cannot be read. {error}") from error
        return fields

    @property
    def traits(self) -> Traits:
        """What events of this type mean.

        Raises:
            CorruptedEventLogError: no event has this type.
        """
        try:
            return TYPES[self.type].traits
        except KeyError:
            raise CorruptedEventLogError(
                f"Event {self.sequence} has a strange type, {self.type!r}: was it written by a newer version?"
            ) from None

    @property
    def is_decision(self) -> bool:
        """Whether the body said so. Attributes that a step set, and tokens freed from outside, are arrivals. Raises as
        :attr:`traits` does."""
        decides = DECIDES.get(self.type)
        if decides is None:  # the type alone does not say, or is a strange one
            arrives = self.traits.arrives
            decides = arrives is None or not arrives(self)
        return decides

    def __repr__(self) -> str:
        return f"<{self.sequence} {self.type} {self.correlation_id}>"


def raw_fields(record: Record) -> dict[str, Any]:
    """The event's fields as plain JSON, tags and all: readable also where a class that they name is gone."""
    found: dict[str, Any] = json.loads(record.data)
    return found


def reencode(value: Any) -> Encoded:
    """A value out of :func:`raw_fields` as the encoded text that it was."""
    return Encoded(json.dumps(value, separators=(",", ":")))
