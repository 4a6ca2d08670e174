"""Exceptions as data, and back: ``{"type", "message", "args", "traceback", "cause"}``; a group has ``members``, too.

``type`` is a dotted path (built-in classes bare), ``cause`` such an object or None. An exception with attributes of its
own has them under ``attributes`` too, when all of them can be encoded.

Blind ``except`` clauses are the point here: the exception is foreign code, and whatever its ``__str__``, its arguments'
``__repr__`` or its module do (``SystemExit`` included) must end as a description and not end the worker.
"""

# ruff: noqa: BLE001, S110, S112

from __future__ import annotations

import builtins
import importlib
import reprlib
import sys
import traceback
from typing import Any

from .codec import dumps
from .registration import Encoded

#: characters
MAX_MESSAGE, MAX_TRACEBACK, MAX_CAUSE_TRACEBACK, MAX_ARGUMENT, MAX_REPR = 10_000, 20_000, 4_000, 100_000, 1_000
MAX_CAUSES, MAX_FRAMES, MAX_ARGS, MAX_MEMBERS = 5, 64, 50, 100
#: repr() itself would take as long as a collection is large
_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = MAX_REPR
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = _short.maxfrozenset = 20
#: asyncio cannot carry these through a future
_NOT_RAISABLE = (StopIteration, StopAsyncIteration)


def encode_error(exc: BaseException, cause: Encoded | None = None) -> Encoded:
    """The exception as encoded text. Never raises: what cannot be encoded or printed is replaced by a description.

    ``cause``: another error, encoded already, in place of the exception's own cause.
    """
    parts = _encode(exc, 0, set())
    if cause is not None:
        parts["cause"] = cause
    return _splice(parts)


def _splice(parts: dict[str, Encoded]) -> Encoded:
    return Encoded("{" + ",".join(f'"{name}":{text}' for name, text in parts.items()) + "}")


def _encode(exc: BaseException, depth: int, seen: set[int]) -> dict[str, Encoded]:
    seen.add(id(exc))
    parts = {
        "type": dumps(_type_name(type(exc))),
        "message": dumps(_message(exc)),
        "args": Encoded("[" + ",".join(_argument(item) for item in _args(exc)) + "]"),
        "traceback": dumps(_traceback(exc, chain=depth == 0)),
    }
    if (attributes := _attributes(exc)) is not None:
        parts["attributes"] = attributes
    if isinstance(exc, BaseExceptionGroup):
        parts["members"] = _members(exc, depth, seen)
    cause = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    if cause is None or depth == MAX_CAUSES or id(cause) in seen:
        parts["cause"] = dumps(None)
    else:
        parts["cause"] = _splice(_encode(cause, depth + 1, seen))
    return parts


def _members(group: BaseExceptionGroup[BaseException], depth: int, seen: set[int]) -> Encoded:
    """Those of a group, as exceptions; as many as are described of one error in all."""
    described = []
    for member in group.exceptions:
        if depth == MAX_CAUSES or len(seen) >= MAX_MEMBERS:
            break
        described.append(_splice(_encode(member, depth + 1, seen)))
    return Encoded("[" + ",".join(described) + "]")


def _type_name(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _bounded(text: str, limit: int) -> str:
    """Head and tail of a text that is too long: a traceback's end says most, its start where it came from."""
    if len(text) <= limit:
        return text
    head = limit // 3
    return f"{text[:head]}\n[... {len(text) - limit} characters left out ...]\n{text[head - limit :]}"


def _message(exc: BaseException) -> str:
    try:
        return _bounded(str.__str__(str(exc)), MAX_MESSAGE)
    except BaseException:
        return f"<unprintable {type(exc).__name__}>"


def _args(exc: BaseException) -> tuple[Any, ...]:
    try:
        args = (exc.message,) if isinstance(exc, BaseExceptionGroup) else tuple(exc.args)
        return args if len(args) <= MAX_ARGS else (*args[:MAX_ARGS], f"... {len(args) - MAX_ARGS} more")
    except BaseException:
        return ()


def _argument(value: Any) -> Encoded:
    try:
        encoded = dumps(value)
        if len(encoded) <= MAX_ARGUMENT:
            return encoded
    except BaseException:
        pass  # described below
    try:
        return dumps(_bounded(str.__str__(_short.repr(value)), MAX_REPR))
    except BaseException:
        return dumps(f"<unprintable {type(value).__name__}>")


def _traceback(exc: BaseException, *, chain: bool) -> str:
    try:
        if _is_crowd(exc):  # each member would be formatted, once for each group that holds it
            text = "".join([*traceback.format_tb(exc.__traceback__, -MAX_FRAMES), f"{type(exc).__name__}: {exc}\n"])
        else:
            text = "".join(traceback.format_exception(exc, limit=-MAX_FRAMES, chain=chain))
        return _bounded(text, MAX_TRACEBACK if chain else MAX_CAUSE_TRACEBACK)
    except BaseException:
        return f"<no traceback: {type(exc).__name__}>"


def _is_crowd(exc: BaseException) -> bool:
    """Whether a group has more members, with theirs, than are described."""
    pending, count = [exc], 0
    while pending and count <= MAX_MEMBERS:
        count += 1
        if isinstance(group := pending.pop(), BaseExceptionGroup):
            pending.extend(group.exceptions)
    return count > MAX_MEMBERS


def _attributes(exc: BaseException) -> Encoded | None:
    """What ``__init__`` or ``add_note`` put on the exception; None if that is nothing, or cannot be encoded."""
    try:
        attributes = dict(exc.__dict__)
        if not attributes or not all(type(name) is str for name in attributes):
            return None
        encoded = dumps(attributes)
        return encoded if len(encoded) <= MAX_ARGUMENT else None
    except BaseException:
        return None


def decode_error(payload: dict[str, Any]) -> BaseException | None:
    """The exception that :func:`encode_error` described, with its causes; ``payload`` is the decoded object.

    None when its class cannot be found here, is not a subclass of ``Exception``, or cannot be made again with its args.
    """
    try:
        cls = _find_class(payload["type"])
        args = tuple(payload["args"])
        if cls is not None and issubclass(cls, ExceptionGroup):
            members = [decode_error(member) for member in payload["members"]]
            if None in members:
                return None
            args = (*args, members)
        exc = None if cls is None else _rebuild(cls, args, payload.get("attributes"))
        cause = payload.get("cause")
        if exc is not None and isinstance(cause, dict):
            exc.__cause__ = decode_error(cause)
        return exc
    except Exception:  # a payload written by hand
        return None


def _find_class(name: str) -> type[Exception] | None:
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return None  # a class inside a function: "<locals>"
    if len(parts) == 1:
        return _exception_class(builtins, parts)
    for split in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:split])
        try:
            module = sys.modules.get(module_name) or importlib.import_module(module_name)
        except Exception:
            continue
        if (cls := _exception_class(module, parts[split:])) is not None:
            return cls
    return None


def _exception_class(found: Any, path: list[str]) -> type[Exception] | None:
    for part in path:
        found = getattr(found, part, None)
    if isinstance(found, type) and issubclass(found, Exception) and not issubclass(found, _NOT_RAISABLE):
        return found
    return None


def _rebuild(cls: type[Exception], args: tuple[Any, ...], attributes: dict[str, Any] | None) -> Exception | None:
    """Call the class, if that gives the args back; else restore args and attributes without calling."""
    exc: Exception | None
    try:
        exc = cls(*args)
        if not isinstance(exc, cls) or exc.args != args:
            exc = None
    except Exception:
        exc = None
    if exc is None:
        if attributes is None:
            return None
        exc = cls.__new__(cls, *args)
        exc.args = args
    if attributes:
        exc.__dict__.update(attributes)
    return exc
