"""Stored values as plain JSON for the wire, from their encoded text.

No class is imported and nothing is decoded: what a payload once was need not exist in the process that shows it.
Tagged values are written as people expect them: times in ISO 8601, decimals and uuids as text, bytes in Base64, sets
and tuples as lists, dataclasses and models as objects, enum members by their name, NaN and the infinities as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.utils.duration import duration_iso_string

_MARKER = '"$":'
_SURROGATES = re.compile("[\ud800-\udfff]")


def to_json_value(text: str | None) -> Any:
    """A JSON value that any JSON writer accepts; None for SQL NULL. Lone surrogates become U+FFFD."""
    if text is None:
        return None
    value = json.loads(text)
    if _MARKER not in text and "\\ud" not in text:
        return value
    return _clean(_lower(value) if _MARKER in text else value)


def to_json_text(text: str) -> str:
    """The same as compact ASCII text in one line."""
    if _MARKER not in text and "\\ud" not in text:
        return text
    return json.dumps(to_json_value(text), separators=(",", ":"))


def _lower(value: Any) -> Any:
    if isinstance(value, list):
        return [_lower(item) for item in value]
    if not isinstance(value, dict):
        return value
    tag = value.get("$")
    if tag is None:
        return {key: _lower(item) for key, item in value.items()}
    content = value.get("v")
    return _TAGS[tag](content) if tag in _TAGS else _lower(content)


def _pairs(content: Any) -> Any:
    return {_key(_lower(key)): _lower(item) for key, item in content}


def _key(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _text(content: Any) -> Any:
    return bytes.fromhex(content).decode("utf-8", "surrogatepass")


def _duration(content: Any) -> Any:
    days, seconds, microseconds = content
    return duration_iso_string(timedelta(days, seconds, microseconds))


def _as_is(content: Any) -> Any:
    return content


_TAGS: dict[Any, Callable[[Any], Any]] = {
    "dict": _pairs,
    "int": _as_is,  # in hexadecimal: beyond 64 bits most readers of JSON lose digits
    "str": _text,
    "timedelta": _duration,
}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_SURROGATES.sub("\ufffd", key): _clean(item) for key, item in value.items()}
    return value
