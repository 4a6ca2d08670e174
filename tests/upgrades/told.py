"""Values as JSON that two processes can compare, whatever class they have: what the library calls equal is told alike."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
from enum import Enum
from typing import Any


def told(value: Any) -> Any:
    """JSON for ``value``, with the path of the class of everything that JSON has not got itself."""
    kind = type(value)
    if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
        return value
    if kind is list:
        return [told(item) for item in value]
    if kind is dict:
        if all(type(key) is str for key in value):
            return {key: told(item) for key, item in value.items()}
        return {"type": "dict", "is": [[told(key), told(item)] for key, item in value.items()]}
    # where the library keeps its own classes is its own affair
    home = "django_workflows" if kind.__module__.startswith("django_workflows.") else kind.__module__
    return {"type": f"{home}.{kind.__qualname__}", "is": _content(value)}


def _content(value: Any) -> Any:
    if isinstance(value, Enum):
        return told(value.value)
    if isinstance(value, tuple):
        return [told(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((told(item) for item in value), key=json.dumps)
    if dataclasses.is_dataclass(value):
        return {field.name: told(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dt.datetime | dt.date | dt.time):
        zone = getattr(getattr(value, "tzinfo", None), "key", None)
        return value.isoformat() if zone is None else [value.isoformat(), zone]
    if hasattr(value, "model_dump"):
        return told(value.model_dump())
    if type(value).__name__ == "RunHandle":
        return value.id
    return repr(value)
