"""How an event is declared: its traits, its fields, its text. The events themselves are in ``events``.

Whoever treats events by what they mean (engine, constraints, fold, erasure, log lines, timeline, REST schema, docs)
asks their traits, so that a new event is declared in one place and forgotten in none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from dataclasses import field as dataclass_field
from enum import Enum, StrEnum
from json.encoder import encode_basestring_ascii
from typing import Any, ClassVar, TypeVar, dataclass_transform

from ..serialization import Encoded, dumps

E = TypeVar("E", bound="Event")


class Kind(Enum):
    """Who causes an event: the body (decision), the world outside it (arrival), or neither (mark)."""

    DECISION = "decision"
    ARRIVAL = "arrival"
    MARK = "mark"


class Entity(StrEnum):
    """What an event is about. Its correlation id names which one, within the run."""

    RUN = "run"
    STEP = "step"
    WAIT = "wait"
    HOOK = "hook"
    CHILD = "child"
    ATTRIBUTES = "attributes"
    PATCH = "patch"


class Tone(StrEnum):
    """How an event is to be taken; doors choose a colour for it."""

    GOOD = "good"
    BAD = "bad"
    BUSY = "busy"
    FAINT = "faint"


class Shape(Enum):
    """What a personal field holds, which says how it is erased and how it is shown."""

    VALUE = "any value"
    TEXT = "text"
    #: text that is enough to resume a hook: never part of an event's sentence
    TOKEN = "token"  # noqa: S105 - the name of a kind
    ARGS = "list of values"
    MAPPING = "values by name"
    #: ``{type, message, args, traceback, cause}``
    ERROR = "error"


#: shapes that may hold megabytes
_HEAVY = (Shape.VALUE, Shape.ARGS, Shape.MAPPING)


# --- fields ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FieldTraits:
    """One field of an event. ``doc``: what it says, with its unit; ``type``: its annotation.

    ``personal`` is the shape of what people put in, which erasing a run replaces; None: the field is kept. A ``secret``
    field leaves the database through no door. An ``optional`` one is left out of the data when it is None.
    """

    name: str
    type: str
    doc: str
    personal: Shape | None
    secret: bool
    optional: bool


def personal(shape: Shape, doc: str, *, default: Any = MISSING) -> Any:
    """A field that holds what people put in; erasing a run erases it. With the default None it is optional."""
    return _declared(doc, default, personal=shape)


def kept(doc: str, *, default: Any = MISSING, secret: bool = False) -> Any:
    """A field that erasing a run keeps. With the default None it is optional."""
    return _declared(doc, default, secret=secret)


def _declared(doc: str, default: Any = MISSING, **traits: Any) -> Any:
    return dataclass_field(default=default, metadata={"doc": doc, "personal": None, "secret": False, **traits})


def _field_traits(cls: Any) -> dict[str, FieldTraits]:
    found = {}
    for item in fields(cls):
        if "doc" not in item.metadata:
            raise TypeError(
                f"{cls.__name__}.{item.name} is neither personal() nor kept(): say whether erasing keeps it."
            )
        found[item.name] = FieldTraits(item.name, str(item.type), optional=item.default is None, **item.metadata)
    return found


# --- events ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TimelineMark:
    """A moment that a timeline marks. ``name`` is for machines; only where the field ``only_if`` is true, if given."""

    name: str
    text: str
    only_if: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What an event means. ``status`` is what its entity becomes; ``status_if``: by a field that is true, another one.

    ``resolves``: its delivery may settle what the body awaits. ``opens`` and ``closes``: it begins or ends the life of
    its entity. ``after_end``: it may follow the run's terminal event. ``arrives``: of a decision, the records that come
    from outside the body all the same. ``says`` and ``says_if`` are templates of its sentence, ``{call}`` its arguments.
    """

    kind: Kind
    entity: Entity
    resolves: bool = False
    opens: bool = False
    closes: bool = False
    after_end: bool = False
    status: str | None = None
    status_if: tuple[str, str] | None = None
    arrives: Callable[[Any], bool] | None = None
    tone: Tone = Tone.FAINT
    says: str = ""
    says_if: tuple[str, str] | None = None
    mark: TimelineMark | None = None

    def status_after(self, payload: Mapping[str, Any]) -> str | None:
        """What the entity becomes by an event with this payload; None: it stays what it is."""
        return _either(self.status, self.status_if, payload)

    def sentence(self, payload: Mapping[str, Any], show: Callable[[str, Any], str]) -> str:
        """What the event says beyond its type. ``show`` gives a field's text by its name; ``call`` is all arguments."""
        return _either(self.says, self.says_if, payload).format_map(_Shown(payload, show))

    def marks(self, payload: Mapping[str, Any]) -> bool:
        """Whether a timeline marks the moment of an event with this payload."""
        return self.mark is not None and (not self.mark.only_if or bool(payload.get(self.mark.only_if)))


T = TypeVar("T")


def _either(usual: T, other: tuple[str, T] | None, payload: Mapping[str, Any]) -> T:
    return other[1] if other is not None and payload.get(other[0]) else usual


class _Shown(dict[str, str]):
    """The fields of a sentence, each made into text when it is asked for."""

    def __init__(self, payload: Mapping[str, Any], show: Callable[[str, Any], str]) -> None:
        super().__init__()
        self._payload, self._show = payload, show

    def __missing__(self, name: str) -> str:
        value = self._payload if name == "call" else self._payload.get(name)
        return self._show(name, value)


class Event:
    """Base of all events. ``type`` is the string in the database: the class name in snake_case."""

    type: ClassVar[str]
    traits: ClassVar[Traits]
    fields: ClassVar[dict[str, FieldTraits]]
    #: whether reading its data is cheap: no field may hold megabytes
    is_light: ClassVar[bool]
    _names: ClassVar[tuple[str, ...]]
    _optional: ClassVar[frozenset[str]]

    __slots__ = ()

    def encode(self) -> str:
        """The event's fields as ASCII JSON text, in declaration order. Optional fields that are None are left out."""
        parts = []
        for name in self._names:
            value = getattr(self, name)
            if value is None and name in self._optional:
                continue
            parts.append(f'"{name}":{_text(value)}')
        return "{" + ",".join(parts) + "}"


def _text(value: Any) -> str:
    """One field as JSON. Most are pieces of text, small numbers or encoded already."""
    kind = type(value)
    if kind is Encoded:
        return value  # type: ignore[no-any-return]
    if kind is str:
        return encode_basestring_ascii(value)
    if value is None:
        return "null"
    return dumps(value)


#: every event by its type, in the order of declaration
TYPES: dict[str, type[Event]] = {}
#: whether records are decisions of the body, for the types that say so alone
DECIDES: dict[str, bool] = {}


@dataclass_transform(frozen_default=True, field_specifiers=(personal, kept))
def event(kind: Kind, entity: Entity, **others: Any) -> Callable[[type[E]], type[E]]:
    """Declare the decorated class as an event with these :class:`Traits`.

    Raises:
        TypeError: a trait is unknown, or a field is neither ``personal()`` nor ``kept()``.
    """
    traits = Traits(kind=kind, entity=entity, **others)

    def declare(plain: type[E]) -> type[E]:
        cls: Any = dataclass(frozen=True, slots=True)(plain)
        name = cls.__name__
        cls.type = "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
        cls.traits, cls.fields = traits, _field_traits(cls)
        cls.is_light = all(item.personal not in _HEAVY for item in cls.fields.values())
        cls._names = tuple(cls.fields)
        cls._optional = frozenset(item.name for item in cls.fields.values() if item.optional)
        TYPES[cls.type] = cls
        if traits.arrives is None:
            DECIDES[cls.type] = kind is Kind.DECISION
        return cls  # type: ignore[no-any-return]

    return declare
