"""Text and value: the two directions, their fast paths, and the canonical form."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

from ..exceptions import SerializationError
from .registration import BIG, MARK, MAX_DEPTH, Encoded, Lowering, Unencodable, encode_leaf, revive

#: occurs in the text exactly when some object has the key "$": inside a JSON string a quote is always escaped
_MARKER = f'"{MARK}":'
#: exact types that the C encoder hands to ``default`` untouched, so they need no walk of their own
_LEAVES = frozenset({dt.datetime, dt.date, dt.time, dt.timedelta, Decimal, UUID, bytes})
#: exact types that are JSON whatever their value; a float may turn out to be NaN, which the C encoder refuses
_ATOMS = frozenset({str, bool, float, type(None)}) | _LEAVES
_LONG = 12


def _make_encoder(*, sort_keys: bool) -> Callable[[Any], str]:
    """From JSON values to compact ASCII text, without the set-up that ``JSONEncoder.encode`` repeats per call."""
    encoder = json.JSONEncoder(
        ensure_ascii=True,
        check_circular=False,
        allow_nan=False,
        sort_keys=sort_keys,
        separators=(",", ":"),
        default=encode_leaf,
    )
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # an interpreter without the C accelerator
        return encoder.encode
    chunks = make(None, encode_leaf, json.encoder.encode_basestring_ascii, None, ":", ",", sort_keys, False, False)
    return lambda value: "".join(chunks(value, 0))


_encode = _make_encoder(sort_keys=False)
_encode_sorted = _make_encoder(sort_keys=True)
_plain_decoder = json.JSONDecoder()
_tagged_decoder = json.JSONDecoder(object_hook=revive)


def _is_plain(value: Any, depth: int) -> bool:
    """Whether the C encoder alone writes ``value`` without loss. Exact types only: a subclass may be an enum."""
    kind = type(value)
    if kind is dict:
        if depth > MAX_DEPTH or MARK in value:
            return False
        for key, item in value.items():
            if type(key) is not str:
                return False
            kind = type(item)
            if kind in _ATOMS:
                continue
            if kind is int:
                if not -BIG < item < BIG:
                    return False
            elif not _is_plain(item, depth + 1):
                return False
        return True
    if kind is list:
        return depth <= MAX_DEPTH and _is_plain_list(value, depth)
    return kind in _ATOMS or (kind is int and -BIG < value < BIG)


def _is_plain_list(value: list[Any], depth: int) -> bool:
    if len(value) > _LONG:
        kinds = set(map(type, value))
        if kinds <= _ATOMS:
            return True
        if kinds == {int}:
            return bool(min(value) > -BIG and max(value) < BIG)
    for item in value:
        kind = type(item)
        if kind in _ATOMS:
            continue
        if kind is int:
            if not -BIG < item < BIG:
                return False
        elif not _is_plain(item, depth + 1):
            return False
    return True


def dumps(value: Any) -> Encoded:
    """``value`` as tagged JSON: ASCII, compact, keys in the value's own order. :class:`Encoded` text goes in as it is.

    Raises :class:`SerializationError`, whose ``path`` says where: ``args[0].items[3]``.
    """
    try:
        if _is_plain(value, 0):
            try:
                text = _encode(value)
            except (ValueError, Unencodable):
                pass  # NaN, an infinity, a naive datetime: the walk below tags it, or names its path
            else:
                # Two surrogate code points in a row would be read back as one character, and look like an emoji here.
                if "\\ud" not in text:
                    return Encoded(text)
        if type(value) is Encoded:
            return value
        return Encoded(_encode(Lowering()(value)))
    except Unencodable as refused:
        raise SerializationError(refused.message, refused.path) from refused.__cause__
    except RecursionError:
        raise SerializationError("The value is nested too deeply for what is left of the call stack.") from None


def loads(text: str) -> Any:
    """The value that :func:`dumps` wrote. A new copy at every call.

    Raises :class:`SerializationError` for text that is not JSON, and for a class that is not to be found here.
    """
    decoder = _tagged_decoder if _MARKER in text else _plain_decoder
    try:
        value, end = decoder.raw_decode(text)
        return value if end == len(text) else decoder.decode(text)
    except json.JSONDecodeError as error:
        raise SerializationError(f"The text is not JSON: {error}.") from error
    except RecursionError:
        raise SerializationError("The text is nested too deeply for what is left of the call stack.") from None


def _sort_pairs(content: dict[str, Any]) -> dict[str, Any]:
    if content.get(MARK) in ("dict", "set", "frozenset"):
        content["v"].sort(key=_encode_sorted)
    return content


_sorting_decoder = json.JSONDecoder(object_hook=_sort_pairs)


def canonical(text: str) -> str:
    """The same value as text with every mapping in sorted order: two values are equal when these texts are.

    (``1`` and ``1.0`` are different texts.) Compare the texts themselves first: equal texts need no canonical form.
    """
    decoder = _sorting_decoder if _MARKER in text else _plain_decoder
    try:
        return _encode_sorted(decoder.decode(text))
    except json.JSONDecodeError as error:
        raise SerializationError(f"The text is not JSON: {error}.") from error
    except RecursionError:
        raise SerializationError("The text is nested too deeply for what is left of the call stack.") from None


def size(text: str) -> int:
    """Bytes that ``text`` takes in the database. Encoded text is ASCII, so this is its length."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
