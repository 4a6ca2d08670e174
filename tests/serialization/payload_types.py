"""Classes that other processes can import, for the tests of the codec."""

from __future__ import annotations

import dataclasses
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum, auto
from typing import Any, ClassVar, NamedTuple

import pydantic


class Colour(Enum):
    RED = 1
    GREEN = "g"
    CRIMSON = 1  # noqa: PIE796  (an alias)


class Size(StrEnum):
    SMALL = "s"
    LARGE = "l"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Right(Flag):
    READ = auto()
    WRITE = auto()
    SHARE = auto()


class Bit(IntFlag):
    ONE = 1
    TWO = 2


class Point(NamedTuple):
    x: Any
    y: Any = 0


@dataclasses.dataclass
class Line:
    sku: str
    quantity: Any = 1
    notes: list[Any] = dataclasses.field(default_factory=list)
    total: Any = dataclasses.field(init=False, default=None)
    unit: ClassVar[str] = "piece"

    def __post_init__(self) -> None:
        self.label = f"{self.quantity} x {self.sku}"
        self.total = "computed"

    @dataclasses.dataclass(frozen=True, slots=True)
    class Key:
        id: Any
        parts: tuple[Any, ...] = ()


@dataclasses.dataclass
class NeedsSecret:
    name: str
    secret: dataclasses.InitVar[str]


class Plain:
    """A class that is not registered."""

    def __init__(self, value: Any = None) -> None:
        self.value = value


class Address(pydantic.BaseModel):
    street: str
    zip: Any = None


class Customer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    name: str = pydantic.Field(alias="fullName")
    address: Address
    tags: set[str] = set()
    home: pydantic.HttpUrl | None = None
    _seen: int = 0


class Declined(Exception):
    """Its args are not what its ``__init__`` takes."""

    def __init__(self, code: int, *, retry: bool = False) -> None:
        super().__init__(f"declined with {code}")
        self.code, self.retry = code, retry

    class Permanently(Exception):
        pass


class NeedsResponse(Exception):
    def __init__(self, response: Plain, extra: int) -> None:
        super().__init__("no response")
        self.response, self.extra = response, extra


class SneakyExit(SystemExit):
    pass


not_a_class = 5
