"""A value of each kind that a payload may hold, as release 0.1.0 could write them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum, auto
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pydantic
from rest_framework import serializers


class Colour(Enum):
    RED = 1
    GREEN = "g"


class Size(StrEnum):
    LARGE = "l"


class Level(IntEnum):
    HIGH = 2


class Right(Flag):
    READ = auto()
    WRITE = auto()


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Line:
    sku: str
    price: Decimal
    colours: list[Colour] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
    number: int
    lines: tuple[Line, ...] = ()


class Customer(pydantic.BaseModel):
    name: str
    born: dt.date
    credit: Decimal = Decimal(0)
    boxes: list[int] = []


class Approval(serializers.Serializer):  # type: ignore[type-arg]
    """What a hook with ``schema=`` takes."""

    approved = serializers.BooleanField()
    by = serializers.CharField(max_length=20)


def every_value() -> dict[str, Any]:
    return {
        "none": None,
        "flags": [True, False],
        "numbers": [0, -1, 2**53 + 1, 2**200, 0.1, -0.0, 1e300],
        "odd numbers": [float("nan"), float("inf"), float("-inf")],
        "text": "Grüße, 世界 \U0001f600",
        "nul": "before\0after",
        "surrogates": "\ud800 and \udfff",
        "bytes": b"\x00\xff bytes",
        "decimal": [Decimal("10.50"), Decimal("NaN"), Decimal("1E+400")],
        "uuid": UUID("12345678-1234-5678-1234-567812345678"),
        "moment": dt.datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=dt.UTC),
        "offset": dt.datetime(2026, 2, 3, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))),
        "zone": dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
        "date": dt.date(1815, 12, 10),
        "time": dt.time(23, 59, 59, 999999),
        "length": dt.timedelta(days=-1, microseconds=1),
        "tuple": (1, ("two", [3])),
        "sets": [{1, 2, 3}, frozenset({"a"}), set()],
        "enums": [Colour.RED, Colour.GREEN, Size.LARGE, Level.HIGH, Right.READ | Right.WRITE],
        "named": Point(1, 2),
        "line": Line("B7", Decimal("9.99"), [Colour.GREEN]),
        "box": Box(1, (Line("B8", Decimal("0.01")),)),
        "customer": Customer(name="Ada", born=dt.date(1815, 12, 10), credit=Decimal("3.50"), boxes=[1]),
        "keys": {1: "a number", ("a", 2): "a pair", None: "nothing"},
        "looks like a tag": {"$t": "decimal", "$type": "x", "v": "1", "": 0},
        "deep": [[[[[[[[[["bottom"]]]]]]]]]],
    }


def large_text(letters: int = 3000) -> str:
    """Text that does not compress to nothing, always the same."""
    text = ""
    while len(text) < letters:
        text += hashlib.sha256(text.encode()).hexdigest()
    return text[:letters]
