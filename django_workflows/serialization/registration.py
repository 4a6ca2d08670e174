"""Which type is written how: the table of tags, its lookup, and ``register_type``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from math import isfinite
from typing import Any, TypeVar, cast

from ..exceptions import SerializationError
from .refusals import refusal

T = TypeVar("T")
MARK = "$"
#: ints from here on are written in hexadecimal: many readers of JSON lose them, and Python limits decimal digits
BIG = 2**63
#: containers within containers. The walk takes three stack frames for each, and a view may be 200 frames deep already.
MAX_DEPTH = 100

_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


class Encoded(str):
    """Text that is tagged JSON already. Only the library makes it; ``dumps`` does not encode it again."""

    __slots__ = ()


class Unencodable(Exception):
    """A value cannot be written. ``segments`` collects the way to it from the inside out."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.segments: list[str] = []

    @property
    def path(self) -> str:
        return "".join(reversed(self.segments)).removeprefix(".")


def segment(key: Any) -> str:
    """One part of a path: ``.items`` for a name, ``['odd key']`` and ``[3]`` for the rest."""
    if isinstance(key, str) and key.isidentifier():
        return f".{key}"
    shown = repr(key) if isinstance(key, (str, int, float, type(None))) else type(key).__name__
    return f"[{shown if len(shown) <= 60 else shown[:57] + '...'}]"


class Lowering:
    """Turns a value into one that the JSON encoder writes without loss. One object per value; it knows where it is."""

    __slots__ = ("_active",)

    def __init__(self) -> None:
        self._active: set[int] = set()

    def __call__(self, value: Any) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return value if _SURROGATE_PAIR.search(value) is None else _tagged_str(value)
        if kind is int:
            return value if -BIG < value < BIG else {MARK: "int", "v": hex(value)}
        if kind is float:
            return value if isfinite(value) else {MARK: "float", "v": repr(value)}
        writer = _writers.get(kind) or _find_writer(kind, value)
        key = id(value)
        if key in self._active:
            raise Unencodable("The value contains itself. Pass a structure without cycles, with ids as references.")
        if len(self._active) > MAX_DEPTH:
            raise Unencodable(f"The value is nested more than {MAX_DEPTH} levels deep. Flatten it.")
        self._active.add(key)
        try:
            return writer(value, self)
        finally:
            self._active.discard(key)

    def items(self, values: Any) -> list[Any]:
        """The lowered items of an iterable, in its order."""
        lowered, index = [], 0
        try:
            for item in values:
                lowered.append(self(item))
                index += 1
        except Unencodable as refused:
            refused.segments.append(f"[{index}]")
            raise
        return lowered

    def fields(self, pairs: Any) -> dict[str, Any]:
        """The lowered values of ``(name, value)`` pairs, by name."""
        lowered, name = {}, ""
        try:
            for name, item in pairs:
                lowered[name] = self(item)
        except Unencodable as refused:
            refused.segments.append(segment(name))
            raise
        return lowered


Writer = Callable[[Any, Lowering], Any]
Reader = Callable[[dict[str, Any]], Any]


def _tagged_str(value: str) -> dict[str, Any]:
    return {MARK: "str", "v": value.encode("utf-8", "surrogatepass").hex()}


#: exact type -> how it is written; grows with subclasses, enums, dataclasses as they are met
_writers: dict[type, Writer] = {}
_readers: dict[str, Reader] = {
    "str": lambda content: bytes.fromhex(content["v"]).decode("utf-8", "surrogatepass"),
    "int": lambda content: int(content["v"], 16),
    "float": lambda content: float(content["v"]),
}
#: how a class that has no entry is written: asked in this order, None says "not mine"
_finders: list[Callable[[type, Any], Writer | None]] = []
_base_writers: dict[type, Writer] = {}


def declare(kind: type, writer: Writer) -> None:
    """A built-in type: written by ``writer``, and so are its subclasses unless a finder knows them better."""
    _base_writers[kind] = _writers[kind] = writer


def declare_tag(tag: str, reader: Reader) -> None:
    _readers[tag] = reader


def declare_finder(finder: Callable[[type, Any], Writer | None]) -> None:
    _finders.append(finder)


def _find_writer(kind: type, value: Any) -> Writer:
    """The nearest registered base, else what a finder knows, else the nearest built-in base."""
    for base in kind.__mro__:
        if base in _registered:
            writer = _registered_writer(_registered[base])
            break
    else:
        found = next(filter(None, (finder(kind, value) for finder in _finders)), None)
        found = found or next((_base_writers[base] for base in kind.__mro__ if base in _base_writers), None)
        if found is None:
            raise Unencodable(refusal(value))
        writer = found
    _writers[kind] = writer
    return writer


def encode_leaf(value: Any) -> Any:
    """The JSON encoder's ``default``: a value of one of the leaf types, which need no walk."""
    return _writers[type(value)](value, cast(Lowering, None))


def revive(content: dict[str, Any]) -> Any:
    """The JSON decoder's ``object_hook``: the value of a tagged object, any other object as it is."""
    if MARK not in content:
        return content
    tag = content[MARK]
    reader = _readers.get(tag) if isinstance(tag, str) else None
    if reader is None:
        raise SerializationError(f"The tag {tag!r} is unknown here: it was written by a newer version, or by hand.")
    try:
        return reader(content)
    except SerializationError:
        raise
    except Exception as error:
        what = f"{tag} {content['c']}" if "c" in content else tag
        raise SerializationError(f"A value tagged {what} cannot be read: {type(error).__name__}: {error}") from error


# --- what projects add -----------------------------------------------------------------------------------------------


class _Registration:
    __slots__ = ("cls", "decode", "encode", "name")

    def __init__(self, cls: type, name: str, encode: Callable[[Any], Any], decode: Callable[[Any], Any]) -> None:
        self.cls, self.name, self.encode, self.decode = cls, name, encode, decode


_registered: dict[type, _Registration] = {}
_registered_names: dict[str, _Registration] = {}


def register_type(
    cls: type[T], *, encode: Callable[[T], Any], decode: Callable[[Any], T], name: str | None = None
) -> None:
    """Let values of ``cls`` (and of subclasses that are not registered themselves) be arguments, results and payloads.

    ``encode(value)`` returns anything that can be encoded itself; ``decode`` gets an equal copy of that and returns the
    value. ``name`` is what is stored, by default ``"module:qualname"``; keep it when you move the class. Call it where
    the class is defined, so that every process knows it. Raises ``ValueError`` when the class or the name is taken.
    """
    if not isinstance(cls, type):
        raise TypeError(f"register_type() takes a class, not {cls!r}.")
    name = name or f"{cls.__module__}:{cls.__qualname__}"
    if cls in _base_writers or cls in (object, type(None), bool, Encoded):
        raise ValueError(f"{cls.__qualname__} has its own encoding already; wrap it in a class of your own.")
    if (known := _registered.get(cls)) is not None:
        raise ValueError(f"{cls.__module__}.{cls.__qualname__} is registered already, as {known.name!r}.")
    if (known := _registered_names.get(name)) is not None:
        raise ValueError(f"The name {name!r} belongs to {known.cls.__module__}.{known.cls.__qualname__} already.")
    entry = _Registration(cls, name, encode, decode)
    _registered[cls] = _registered_names[name] = entry
    # What was found for a subclass before may be wrong now.
    for kind in [kind for kind in _writers if issubclass(kind, cls)]:
        if kind not in _base_writers:
            del _writers[kind]


def _registered_writer(entry: _Registration) -> Writer:
    def write(value: Any, lower: Lowering) -> Any:
        try:
            content = entry.encode(value)
        except Exception as error:
            raise Unencodable(f"Encoding it as {entry.name!r} failed: {type(error).__name__}: {error}") from error
        return {MARK: "type", "c": entry.name, "v": lower(content)}

    return write


def _read_registered(content: dict[str, Any]) -> Any:
    entry = _registered_names.get(content["c"])
    if entry is None:
        raise SerializationError(
            f"The type {content['c']!r} is not registered in this process. "
            "Call register_type() in a module that every process imports, and keep the name."
        )
    return entry.decode(content["v"])


declare_tag("type", _read_registered)


def _write_encoded(value: Any, lower: Lowering) -> Any:
    return json.loads(value)


_writers[Encoded] = _write_encoded
