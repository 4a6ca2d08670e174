"""How a run is started, and the attributes that one searches it by: checked here, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from ..values import clock, durations
from ..values.attributes import require_few
from ..values.durations import Duration
from ..values.validation import check_limit, check_storable, check_text, naming

#: characters of an attribute's key; bytes of its value
MAX_ATTRIBUTE_KEY, MAX_ATTRIBUTE_VALUE = 64, 256
#: characters of a queue's name, and of an idempotency key
MAX_QUEUE, MAX_KEY = 100, 255
_INT32 = 2**31


def clean_attributes(given: Mapping[str, Any]) -> dict[str, str | None]:
    """Attributes as they are stored: text, or None to remove the key.

    Numbers, booleans, UUIDs, dates and times are written with ``str()``. Raises ``TypeError`` for other types and
    ``ValueError`` for keys of more than 64 characters or values of more than 256 bytes.
    """
    cleaned: dict[str, str | None] = {}
    for key, value in given.items():
        check_text("An attribute's key", key, MAX_ATTRIBUTE_KEY)
        cleaned[key] = None if value is None else _attribute_text(key, value)
    require_few(cleaned)
    return cleaned


def _attribute_text(key: str, value: Any) -> str:
    if isinstance(value, str):
        text = str.__str__(value)
    elif isinstance(value, (bool, int, float, Decimal, UUID, date, time)):
        text = str(value)
    else:
        raise TypeError(f"The attribute {key!r} takes text or a number, not {type(value).__name__}: use str(...).")
    check_storable(f"The attribute {key!r}", text)
    if len(text.encode()) > MAX_ATTRIBUTE_VALUE:
        raise ValueError(f"The attribute {key!r} has more than {MAX_ATTRIBUTE_VALUE} bytes. Store a reference instead.")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """How a run is started: the keywords of ``workflow.using()``. None: as the workflow or the settings say.

    ``run_after``: a delay in any form that ``sleep()`` takes, or an aware datetime. ``timeout``: a duration, from the
    moment the run may begin. ``detached``: not cancelled with its parent. ``about``: a model instance that the run is
    about. Malformed options raise ``TypeError`` or ``ValueError`` here, before anything is written.
    """

    idempotency_key: str | None = None
    queue: str | None = None
    run_after: Duration | datetime | None = None
    priority: int | None = None
    timeout: Duration | None = None
    attributes: dict[str, str] | None = None
    detached: bool | None = None
    about: Any = None

    def __post_init__(self) -> None:
        if self.idempotency_key is not None:
            check_text("idempotency_key", self.idempotency_key, MAX_KEY)
        if self.queue is not None:
            check_text("queue", self.queue, MAX_QUEUE)
        if self.priority is not None:
            if isinstance(self.priority, bool) or not isinstance(self.priority, int):
                raise TypeError(f"priority is a whole number, not {self.priority!r}.")
            if not -_INT32 <= self.priority < _INT32:
                raise ValueError(f"priority is a number of 32 bits; {self.priority} is not.")
        if self.run_after is not None:
            naming("run_after", durations.until, self.run_after, clock.now())
        check_limit("timeout", self.timeout)
        if self.attributes is not None:
            cleaned = clean_attributes(self.attributes)
            kept = {key: value for key, value in cleaned.items() if value is not None}
            object.__setattr__(self, "attributes", kept)
        if self.detached is not None and not isinstance(self.detached, bool):
            raise TypeError(f"detached is True or False, not {self.detached!r}.")

    def merge(self, **given: Any) -> StartOptions:
        """These options with some of them replaced; attributes are merged key by key."""
        known = {field.name for field in fields(self)}
        if unknown := sorted(given.keys() - known):
            raise TypeError(f"using() has no option {unknown[0]!r}. Its options are: {', '.join(sorted(known))}.")
        if self.attributes and given.get("attributes"):
            given["attributes"] = {**self.attributes, **given["attributes"]}
        return replace(self, **given)

    def given(self) -> dict[str, Any]:
        """The options that are not None, by name."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in values if value is not None}
