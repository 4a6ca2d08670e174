"""Values as text for people: stored ones straight from their encoding, decoded ones as Python writes them.

Nothing here raises for any value: where a stored one is shown no class is looked up, and a class of the project whose
``__repr__`` fails is described.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: characters of one value on a page; the whole of it can be downloaded
LIMIT = 20_000
_MARK = "$"
_LINE = 88


def read(text: str | None) -> Any:
    """Encoded JSON as plain lists, dicts and scalars; tagged values stay ``{"$": …}``. None for what is not JSON."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def pretty(text: str | None) -> str:
    """Encoded JSON, indented, with tagged values as Python writes them: ``Decimal("9.90")``, ``Colour("RED")``."""
    if text is None:
        return ""
    try:
        value = json.loads(text)
        return _Printer().write(value, 0)
    except (ValueError, RecursionError):
        return text


@dataclass(frozen=True, slots=True)
class Shown:
    """A value on a page: ``text`` is at most ``LIMIT`` characters; ``rest`` says how many more there are."""

    text: str
    rest: int = 0


def shown(text: str | None, limit: int = LIMIT) -> Shown:
    """:func:`pretty`, at most ``limit`` characters of it."""
    whole = pretty(text)
    return Shown(whole[:limit], max(0, len(whole) - limit))


def represent(value: Any) -> str:
    """A decoded value as ``repr()`` writes it."""
    try:
        return str.__str__(repr(value))
    except Exception:  # noqa: BLE001 - of a class of the project
        return f"<unprintable {type(value).__name__}>"


def represent_call(args: Iterable[Any], kwargs: Mapping[str, Any]) -> str:
    """Decoded arguments as they stand in a call: ``41, box='a'``."""
    words = [represent(arg) for arg in args]
    return ", ".join([*words, *(f"{key}={represent(value)}" for key, value in kwargs.items())])


_NAMES = {
    "decimal": "Decimal",
    "uuid": "UUID",
    "dict": "dict",
    "enum": "",
    "flag": "",
    "dataclass": "",
    "namedtuple": "",
}


class _Printer:
    """Lays a value out: on one line where it fits, else one item per line."""

    def write(self, value: Any, depth: int) -> str:
        if isinstance(value, dict):
            if _MARK in value:
                return self._tagged(value, depth)
            items = [f"{_scalar(key)}: {self.write(item, depth + 1)}" for key, item in value.items()]
            return self._block("{", items, "}", depth)
        if isinstance(value, list):
            return self._block("[", [self.write(item, depth + 1) for item in value], "]", depth)
        return _scalar(value)

    def _tagged(self, value: dict[str, Any], depth: int) -> str:
        tag, content = str(value[_MARK]), value.get("v")
        name = _NAMES.get(tag, tag) or str(value.get("c", tag)).rpartition(":")[2].rpartition(".")[2]
        if isinstance(content, dict) and "c" in value:  # a dataclass: its fields by name
            items = [f"{key}={self.write(item, depth + 1)}" for key, item in content.items()]
            return self._block(f"{name}(", items, ")", depth)
        if isinstance(content, list) and tag in ("tuple", "set", "frozenset", "timedelta"):
            return self._block(f"{name}(", [self.write(item, depth + 1) for item in content], ")", depth)
        return f"{name}({self.write(content, depth)})"

    def _block(self, left: str, items: list[str], right: str, depth: int) -> str:
        line = f"{left}{', '.join(items)}{right}"
        if len(line) <= _LINE - 2 * depth and "\n" not in line:
            return line
        pad = "  " * (depth + 1)
        return f"{left}\n{pad}" + f",\n{pad}".join(items) + f"\n{'  ' * depth}{right}"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and "\n" in value:
        text = f'"""\n{value}"""'  # a traceback, a mail: read by its lines
    else:
        text = json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot go into a page


@dataclass(frozen=True, slots=True)
class Failure:
    """An encoded error as people read it. ``causes``: the chain below it, nearest first."""

    type: str
    message: str
    traceback: str
    causes: tuple[Failure, ...] = ()

    @property
    def name(self) -> str:
        """The class without its module."""
        return self.type.rpartition(".")[2]

    @property
    def sentence(self) -> str:
        """``ValueError: no such card``."""
        return f"{self.name}: {self.message}" if self.message else self.name


def failure(value: Any) -> Failure | None:
    """A decoded error object (``read`` of the column, or a field of an event) as a :class:`Failure`."""
    if not isinstance(value, dict) or "type" not in value:
        return None
    causes: list[Failure] = []
    cause = value.get("cause")
    while isinstance(cause, dict) and "type" in cause and len(causes) < 10:
        causes.append(Failure(_text(cause, "type"), _text(cause, "message"), _text(cause, "traceback")))
        cause = cause.get("cause")
    return Failure(_text(value, "type"), _text(value, "message"), _text(value, "traceback"), tuple(causes))


def _text(value: dict[str, Any], key: str) -> str:
    return str(value.get(key) or "").encode("utf-8", "replace").decode("utf-8")
