"""The types that are written without being registered: values of the standard library, and classes found by name."""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib
import inspect
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from decimal import Decimal
from enum import Enum, Flag
from json import dumps as json_dumps
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from ..exceptions import SerializationError
from .refusals import loaded
from .registration import MARK, Lowering, Unencodable, Writer, declare, declare_finder, declare_tag, segment

_VAR_POSITIONAL, _VAR_KEYWORD = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD

# --- time ------------------------------------------------------------------------------------------------------------


def _write_datetime(value: dt.datetime, lower: Lowering) -> Any:
    if value.utcoffset() is None:
        raise Unencodable(
            "A naive datetime means another instant on another machine. Use django.utils.timezone.now(), "
            "or make_aware() from django.utils.timezone."
        )
    return _with_zone({MARK: "datetime", "v": value.isoformat()}, value)


def _with_zone(content: dict[str, Any], value: dt.datetime | dt.time) -> dict[str, Any]:
    if value.fold:
        content["fold"] = 1
    if isinstance(value.tzinfo, ZoneInfo) and value.tzinfo.key:
        content["zone"] = value.tzinfo.key
    return content


def _read_datetime(content: dict[str, Any]) -> dt.datetime:
    value = dt.datetime.fromisoformat(content["v"])
    if "fold" in content:  # the second of two hours with the same name, when clocks go back
        value = value.replace(fold=1)
    if "zone" not in content:
        return value
    local = value.replace(tzinfo=_zone(content["zone"]))
    # If the zone's rules have changed since, the instant counts, not what clocks show.
    return local if local.utcoffset() == value.utcoffset() else value.astimezone(local.tzinfo)


def _zone(key: str) -> ZoneInfo:
    try:
        return ZoneInfo(key)
    except Exception as error:
        raise SerializationError(f"The time zone {key!r} is unknown here. Install or update tzdata.") from error


def _write_time(value: dt.time, lower: Lowering) -> Any:
    content = _with_zone({MARK: "time", "v": value.isoformat()}, value)
    if value.tzinfo is not None and value.utcoffset() is None and "zone" not in content:
        raise Unencodable("This time's zone cannot be written. Use a zoneinfo.ZoneInfo, or no zone.")
    return content


def _read_time(content: dict[str, Any]) -> dt.time:
    value = dt.time.fromisoformat(content["v"]).replace(fold=content.get("fold", 0))
    return value.replace(tzinfo=_zone(content["zone"])) if "zone" in content else value


declare(dt.datetime, _write_datetime)
declare_tag("datetime", _read_datetime)
declare(dt.time, _write_time)
declare_tag("time", _read_time)
declare(dt.date, lambda value, lower: {MARK: "date", "v": value.isoformat()})
declare_tag("date", lambda content: dt.date.fromisoformat(content["v"]))
declare(dt.timedelta, lambda value, lower: {MARK: "timedelta", "v": [value.days, value.seconds, value.microseconds]})
declare_tag("timedelta", lambda content: dt.timedelta(*content["v"]))


# --- numbers, text, bytes --------------------------------------------------------------------------------------------

# Subclasses of str, int and float that nothing knows better are written as the plain value they hold.
declare(str, lambda value, lower: lower(str.__str__(value)))
declare(int, lambda value, lower: lower(int.__int__(value)))
declare(float, lambda value, lower: lower(float.__float__(value)))
declare(Decimal, lambda value, lower: {MARK: "decimal", "v": Decimal.__str__(value)})
declare_tag("decimal", lambda content: Decimal(content["v"]))
declare(UUID, lambda value, lower: {MARK: "uuid", "v": str(value)})
declare_tag("uuid", lambda content: UUID(content["v"]))


def _write_bytes(value: bytes | bytearray | memoryview, lower: Lowering) -> Any:
    return {MARK: "bytes", "v": b64encode(bytes(value)).decode("ascii")}


# Database drivers give binary columns as memoryview: it is read back as bytes, and so is a bytearray.
for kind in (bytes, bytearray, memoryview):
    declare(kind, _write_bytes)
declare_tag("bytes", lambda content: b64decode(content["v"], validate=True))


# --- containers ------------------------------------------------------------------------------------------------------


def _write_dict(value: dict[Any, Any], lower: Lowering) -> Any:
    if type(value) is not dict and hasattr(type(value), "getlist"):
        raise Unencodable(
            f"A {type(value).__name__} holds several values per key. Pass `.dict()`, or `dict(....lists())`."
        )
    items = list(value.items())
    if MARK not in value and all(type(key) is str and type(lower(key)) is str for key, _ in items):
        return lower.fields(items)
    pairs = []
    for key, item in items:
        try:
            pairs.append([lower(key), lower(item)])
        except Unencodable as refused:
            refused.segments.append(segment(key))
            raise
    return {MARK: "dict", "v": pairs}


def _write_set(tag: str) -> Writer:
    # Sorted by text: the order of a set depends on the process's hash seed and must not reach the log.
    return lambda value, lower: {MARK: tag, "v": sorted((lower(item) for item in value), key=_text)}


def _text(lowered: Any) -> str:
    return json_dumps(lowered, sort_keys=True)


declare(dict, _write_dict)
declare_tag("dict", lambda content: dict(content["v"]))
declare(list, lambda value, lower: lower.items(value))
declare(tuple, lambda value, lower: {MARK: "tuple", "v": lower.items(value)})
declare_tag("tuple", lambda content: tuple(content["v"]))
declare(set, _write_set("set"))
declare_tag("set", lambda content: set(content["v"]))
declare(frozenset, _write_set("frozenset"))
declare_tag("frozenset", lambda content: frozenset(content["v"]))


# --- classes by name -------------------------------------------------------------------------------------------------


def reference(cls: type) -> str:
    """``"module:qualname"``, under which :func:`find_class` finds exactly this class; else Unencodable."""
    name = f"{cls.__module__}:{cls.__qualname__}"
    try:
        if find_class(name) is cls:
            return name
    except SerializationError:
        pass
    where = "inside a function" if "<locals>" in name else f"not found under {name}"
    raise Unencodable(f"The class {cls.__qualname__} is {where}: no other process could find it. Move it to a module.")


def find_class(name: str) -> type:
    """The class with this reference. Raises :class:`SerializationError` saying which one is missing."""
    module_name, _, qualname = name.partition(":")
    try:
        found: Any = sys.modules.get(module_name) or importlib.import_module(module_name)
        for part in qualname.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise SerializationError(
            f"The class {name} cannot be found here ({type(error).__name__}: {error}). "
            "Was it moved or renamed? Keep an alias under the old name while runs that use it live."
        ) from error
    if not isinstance(found, type):
        raise SerializationError(f"{name} is not a class any more.")
    return found


def _class_of(content: dict[str, Any], fits: Callable[[type], bool], what: str) -> Any:
    cls = find_class(content["c"])
    if not fits(cls):
        raise SerializationError(f"{content['c']} is not {what} any more.")
    return cls


def _find_enum(kind: type, value: Any) -> Writer | None:
    if not issubclass(kind, Enum):
        return None
    name = reference(kind)
    if issubclass(kind, Flag):  # combinations have no name of their own
        return lambda value, lower: {MARK: "flag", "c": name, "v": lower(int(value.value))}

    def write(value: Enum, lower: Lowering) -> Any:
        if kind.__members__.get(value.name) is not value:
            raise Unencodable(f"{value!r} is not a declared member of {kind.__qualname__}.")
        return {MARK: "enum", "c": name, "v": value.name}

    return write


def _is_enum(cls: type) -> bool:
    return issubclass(cls, Enum)


def _read_enum(content: dict[str, Any]) -> Any:
    cls = _class_of(content, _is_enum, "an enum")
    try:
        return cls.__members__[content["v"]]
    except KeyError:
        raise SerializationError(f"{content['c']} has no member {content['v']!r} any more.") from None


declare_finder(_find_enum)
declare_tag("enum", _read_enum)
declare_tag("flag", lambda content: _class_of(content, _is_enum, "an enum")(content["v"]))


def _find_dataclass(kind: type, value: Any) -> Writer | None:
    if not dataclasses.is_dataclass(kind):
        return None
    name, names = reference(kind), [field.name for field in dataclasses.fields(kind)]
    for parameter in inspect.signature(kind).parameters.values():
        required = parameter.default is parameter.empty and parameter.kind not in (_VAR_POSITIONAL, _VAR_KEYWORD)
        if required and parameter.name not in names:
            raise Unencodable(
                f"{kind.__qualname__} cannot be made again from its fields: its __init__ also requires "
                f"{parameter.name!r}. Use register_type()."
            )

    def write(value: Any, lower: Lowering) -> Any:
        try:
            pairs = [(key, getattr(value, key)) for key in names]
        except AttributeError as error:
            raise Unencodable(f"A field of {kind.__qualname__} was never set: {error}.") from error
        return {MARK: "dataclass", "c": name, "v": lower.fields(pairs)}

    return write


def _read_dataclass(content: dict[str, Any]) -> Any:
    cls = _class_of(content, dataclasses.is_dataclass, "a dataclass")
    stored = content["v"]
    known = {field.name: field for field in dataclasses.fields(cls)}
    # A field that the class has lost since is dropped; one that it has gained takes its default, or the class refuses.
    value = cls(**{name: item for name, item in stored.items() if name in known and known[name].init})
    for name, item in stored.items():  # __post_init__ has run; the fields are what they were
        if name in known:
            object.__setattr__(value, name, item)
    return value


declare_finder(_find_dataclass)
declare_tag("dataclass", _read_dataclass)


def _is_namedtuple(cls: type) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields") and hasattr(cls, "_make")


def _find_namedtuple(kind: type, value: Any) -> Writer | None:
    if not _is_namedtuple(kind):
        return None
    try:
        name = reference(kind)
    except Unencodable:
        return None  # made on the fly, as by a queryset's values_list(named=True): a plain tuple
    return lambda value, lower: {MARK: "namedtuple", "c": name, "v": lower.items(value)}


def _read_namedtuple(content: dict[str, Any]) -> Any:
    cls, values = _class_of(content, _is_namedtuple, "a named tuple"), content["v"]
    return cls._make(values) if len(values) == len(cls._fields) else cls(*values)


declare_finder(_find_namedtuple)
declare_tag("namedtuple", _read_namedtuple)


# --- Django's lazy values --------------------------------------------------------------------------------------------


def _find_lazy(kind: type, value: Any) -> Writer | None:
    promise, lazy_object = loaded("django.utils.functional", "Promise"), loaded("django.utils.functional", "LazyObject")
    if promise is not None and issubclass(kind, promise):
        return lambda value, lower: lower(str(value))  # in the language that is active now
    if lazy_object is not None and issubclass(kind, lazy_object):
        return lambda value, lower: lower(_unwrap(value))
    return None


def _unwrap(value: Any) -> Any:
    if value._wrapped is loaded("django.utils.functional", "empty"):
        value._setup()
    return value._wrapped


declare_finder(_find_lazy)
