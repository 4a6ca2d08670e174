"""Columns, declared once: the fields of a row class are the table's columns, and its annotations say their SQL types.

What hand-written SQL and the ORM select, insert and update is derived from there. So a new column is an annotation here, a
field of the model, its migration, and the verb that writes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime, timedelta
from functools import cache
from operator import attrgetter
from types import NoneType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from ..serialization import Encoded
from ..serialization.encryption import encrypt

_SQL_TYPES: dict[type, str] = {
    str: "text",
    Encoded: "text",
    int: "int",
    bool: "bool",
    datetime: "timestamptz",
    timedelta: "interval",
    dict: "jsonb",
}


class Column(NamedTuple):
    """``type``: of its values in Python, None apart. ``sql``: its type in PostgreSQL."""

    name: str
    type: type
    sql: str
    nullable: bool
    #: from a row to the parameter of a hand-written statement: payloads encrypted, JSON as text
    read: Callable[[Any], Any]


@cache
def columns(row: type) -> tuple[Column, ...]:
    """The columns of a row class, a dataclass, in the order of its fields."""
    hints = get_type_hints(row)
    return tuple(_column(field.name, hints[field.name]) for field in fields(row))


def names(row: Any) -> tuple[str, ...]:
    """The names of its columns: a dataclass with slots keeps them there."""
    found: tuple[str, ...] = row.__slots__
    return found


def choose(row: type, *chosen: str) -> list[Column]:
    """These columns of a dataclass, in this order; it may have fields that are no columns."""
    hints = get_type_hints(row)
    return [_column(name, hints[name]) for name in chosen]


def without(row: type, *left_out: str) -> list[Column]:
    """The other columns of the row class."""
    assert set(left_out) <= set(names(row)), left_out
    return [column for column in columns(row) if column.name not in left_out]


def _column(name: str, hint: Any) -> Column:
    options = [option for option in get_args(hint) if option is not NoneType] if NoneType in get_args(hint) else [hint]
    (found,) = options
    type = get_origin(found) or found
    return Column(name, type, _SQL_TYPES[type], found is not hint, _reader(name, type))


def _reader(name: str, type: type) -> Callable[[Any], Any]:
    plain = attrgetter(name)
    if type is Encoded:
        return lambda row: None if (value := plain(row)) is None else encrypt(value)
    if type is dict:  # a JSON column, not a payload: without tags
        return lambda row: None if (value := plain(row)) is None else json.dumps(value, separators=(",", ":"))
    return plain
