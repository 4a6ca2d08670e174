"""Tagged JSON: every type comes back, every refusal says where and what to do."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, QueryDict
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy, override
from hypothesis import given, settings
from hypothesis import strategies as st

from django_workflows.exceptions import SerializationError
from django_workflows.serialization import MAX_DEPTH, Encoded, canonical, dumps, loads, register_type, size
from django_workflows.serialization import registration as table

from .payload_types import Address, Bit, Colour, Customer, Level, Line, NeedsSecret, Plain, Point, Right, Size

ROME = ZoneInfo("Europe/Rome")


@pytest.fixture(autouse=True)
def _registrations_do_not_outlive_a_test() -> Iterator[None]:
    before = dict(table._registered), dict(table._registered_names), dict(table._writers)
    yield
    for kept, now in zip(before, (table._registered, table._registered_names, table._writers), strict=True):
        now.clear()  # type: ignore[attr-defined]
        now.update(kept)  # type: ignore[attr-defined]


def same(left: Any, right: Any) -> bool:
    """Equal, of the same types all the way down, NaN and the sign of zero included."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return repr(left) == repr(right)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left.items()), list(right.items()))
    if isinstance(left, (set, frozenset)):
        return len(left) == len(right) and all(any(same(x, y) for y in right) for x in left)
    if dataclasses.is_dataclass(left):
        return all(same(getattr(left, f.name), getattr(right, f.name)) for f in dataclasses.fields(left))
    if isinstance(left, (datetime, time)):
        return (left, str(left.tzinfo), left.fold) == (right, str(right.tzinfo), right.fold)
    if isinstance(left, Decimal):
        return repr(left) == repr(right)
    return bool(left == right)


def refusal(value: Any) -> SerializationError:
    with pytest.raises(SerializationError) as caught:
        dumps(value)
    return caught.value


VALUES: dict[str, Any] = {
    "none": None,
    "booleans": [True, False],
    "ints": [0, -1, 2**63 - 1, 2**63, -(2**63), -(2**70)],
    "the largest int that is plain": 2**63 - 1,
    "the smallest that is not": 2**63,
    "the same below zero": [[-(2**63)]],
    "an int of 400 digits": 10**400,
    "an int of 5000 digits, more than Python prints": [10**5000, -(10**5000)],
    "floats": [0.0, -0.0, 1.0, 5e-324, 1.7976931348623157e308, 0.1],
    "not numbers": [float("nan"), float("inf"), float("-inf")],
    "NUL": "a\x00b",
    "lone surrogates": ["\ud800", "x\udfff", "\udc00\ud800"],
    "two surrogates that look like one character": ["\ud83d\ude00", {"\ud83d\ude00": 1}],
    "an emoji": "\U0001f600",
    "line separators": "\u2028\u2029\x7f",
    "text that looks like a tag": ['{"$":"tuple","v":[]}', '"$":', "$"],
    "an aware datetime": datetime(2026, 3, 1, 12, 30, 5, 7, tzinfo=UTC),
    "a datetime with an odd offset": datetime(2026, 3, 1, tzinfo=timezone(timedelta(minutes=-61, seconds=7))),
    "a datetime in a zone": datetime(2026, 3, 1, 9, tzinfo=ROME),
    "both of the hours when clocks go back": [datetime(2026, 10, 25, 2, 30, tzinfo=ROME, fold=f) for f in (0, 1)],
    "an hour that does not exist": datetime(2026, 3, 29, 2, 30, tzinfo=ROME),
    "the ends of time": [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)],
    "a date": [date.min, date(2026, 2, 28), date.max],
    "times": [time(9), time(23, 59, 59, 999999, fold=1), time(9, tzinfo=UTC), time(9, tzinfo=ROME)],
    "timedeltas": [timedelta.min, timedelta(microseconds=-1), timedelta.max],
    "decimals": [Decimal(text) for text in ("0", "-0", "1.10", "1E+400", "sNaN12", "NaN", "-Infinity", "9" * 60)],
    "a uuid": UUID("12345678-1234-5678-1234-567812345678"),
    "bytes": [b"", b"\x00\xff", bytes(range(256))],
    "tuples": ((), (1,), ((2, [3]),)),
    "sets": [set(), {1, "a", None}, frozenset({(1, 2), frozenset({3})})],
    "dicts with odd keys": [{1: "a", "1": "b"}, {(1, 2): 3}, {None: 1, True: 2, 1.5: 3}, {date(2026, 1, 1): 1}, {}],
    "dicts that look like a tag": [{"$": "tuple", "v": [1]}, {"$": {"$": None}}, {"$": []}],
    "keys in their order": {"b": 1, "a": 2},
    "enums": [Colour.RED, Colour.GREEN, Colour.CRIMSON, Size.SMALL, Level.HIGH, {Size.LARGE: Level.LOW}],
    "flags": [Right.READ, Right.READ | Right.SHARE, Right(0), Bit.ONE, Bit(3), Bit(12)],
    "a named tuple": Point(1, Point((1,), None)),
    "a nested frozen dataclass": Line.Key(Decimal("1.5"), (Line.Key(1), {2})),
    "a frozen dataclass as a key": {Line.Key(1, (2,)): "x"},
    "long lists": [list(range(100)), ["a"] * 100, [1, "a", 2.5, None] * 20, [[1], (2,)] * 20],
}


class TestRoundTrip:
    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
    def test_a_value_comes_back_alone_and_inside_others(self, value: Any) -> None:
        assert same(loads(dumps(value)), value)
        nested = {"args": [value, [value], {"k": value}, (value,)], "kwargs": {"plain": 1}}
        assert same(loads(dumps(nested)), nested)

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
    def test_the_text_is_ascii_json_and_does_not_depend_on_what_surrounds_it(self, value: Any) -> None:
        text = dumps(value)
        assert type(text) is Encoded
        assert text.isascii()
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        assert dumps([value, (1,)]) == f'[{text},{{"$":"tuple","v":[1]}}]'  # the walk writes what the fast path writes
        assert dumps([value]) == f"[{text}]"

    def test_json_values_are_written_unchanged(self) -> None:
        assert dumps({"args": [1, "a", None], "kwargs": {"x": 1.5}}) == '{"args":[1,"a",null],"kwargs":{"x":1.5}}'

    def test_a_copy_is_a_copy(self) -> None:
        value = {"items": [1]}
        copy = loads(dumps(value))
        copy["items"].append(2)
        assert value == {"items": [1]}

    def test_five_megabytes_of_text(self) -> None:
        text = "\x00é\U0001f600" * 1_000_000
        assert loads(dumps({"args": [text]})) == {"args": [text]}

    def test_a_dataclass_comes_back_with_its_fields_and_what_post_init_makes(self) -> None:
        line = Line("abc", Decimal(2), [Line("x")])
        line.total = {"gross": 1}
        line.notes.append(line.label)
        copy = loads(dumps(line))
        assert copy == line
        assert copy.total == {"gross": 1}
        assert copy.label == "2 x abc"

    def test_a_dataclass_that_has_gained_and_lost_fields_since(self) -> None:
        old = dumps(Line("abc")).replace('"notes":[],', '"colour":"red",')
        assert loads(old) == Line("abc")
        with pytest.raises(SerializationError, match=r"payload_types:Line cannot be read.*sku"):
            loads(old.replace('"sku"', '"name"'))

    def test_a_datetime_keeps_its_instant_when_its_zone_has_changed_its_rules(self) -> None:
        text = dumps(datetime(2026, 7, 1, 12, tzinfo=ROME)).replace("+02:00", "+01:00")
        assert loads(text) == datetime(2026, 7, 1, 11, tzinfo=UTC)
        assert str(loads(text).tzinfo) == "Europe/Rome"


class TestPlainValues:
    """Subclasses without an encoder of their own are written as the value they hold."""

    def test_subclasses_of_json_types(self) -> None:
        class Text(str):
            __slots__ = ()

            def __str__(self) -> str:
                return "lies"

        class Number(int):
            def __int__(self) -> int:
                return -1

        class Real(float):
            pass

        value = [Text("t"), Number(7), Real(1.5), SafeString("<b>")]
        assert same(loads(dumps(value)), ["t", 7, 1.5, "<b>"])
        assert same(loads(dumps({Text("t"): Number(10**30)})), {"t": 10**30})
        ordered = collections.OrderedDict(b=1, a=collections.defaultdict(list, {"x": [1]}))
        assert same(loads(dumps([ordered, collections.Counter("aab")])), [{"b": 1, "a": {"x": [1]}}, {"a": 2, "b": 1}])

    def test_binary_of_all_kinds_is_bytes(self) -> None:
        assert same(loads(dumps([bytearray(b"a"), memoryview(b"b")])), [b"a", b"b"])

    def test_a_named_tuple_made_on_the_fly_is_a_tuple(self) -> None:
        row = collections.namedtuple("Row", "a b")(1, 2)  # type: ignore[call-arg, arg-type]  # noqa: PYI024
        assert same(loads(dumps(row)), (1, 2))

    def test_lazy_text_is_written_in_the_active_language(self) -> None:
        with override("de"):
            assert loads(dumps({"label": gettext_lazy("Yes")})) == {"label": "Ja"}
        assert loads(dumps({"label": gettext_lazy("Yes")})) == {"label": "Yes"}

    def test_a_lazy_object_is_what_it_wraps(self) -> None:
        assert same(loads(dumps([SimpleLazyObject(lambda: (1, 2))])), [(1, 2)])

    def test_encoded_text_is_spliced_in(self) -> None:
        inner = dumps((1, {"$": 2}))
        assert dumps(inner) is inner
        assert loads(dumps({"args": inner, "x": {1}})) == {"args": (1, {"$": 2}), "x": {1}}


class TestPydantic:
    def test_a_model_comes_back_with_extras_private_state_and_what_was_set(self) -> None:
        customer = Customer.model_validate(
            {"fullName": "Ada", "address": Address(street="x", zip=(1,)), "tags": {"b", "a"}, "vip": Decimal(1)}
        )
        customer._seen = 3
        copy = loads(dumps({"args": [customer]}))["args"][0]
        assert copy == customer
        assert copy.address.zip == (1,)
        assert (copy._seen, copy.model_extra, copy.model_fields_set) == (3, {"vip": 1}, customer.model_fields_set)

    def test_urls_come_back(self) -> None:
        customer = Customer.model_validate(
            {"fullName": "A", "address": {"street": ""}, "home": "https://x.example/a?b"}
        )
        copy = loads(dumps(customer))
        assert copy.home == customer.home
        assert type(copy.home) is type(customer.home)

    def test_private_state_has_its_default_where_none_was_written(self) -> None:
        text = dumps(Customer.model_validate({"fullName": "A", "address": {"street": ""}}))
        content = json.loads(text)
        content.pop("private", None)
        assert loads(json.dumps(content, separators=(",", ":")))._seen == 0

    def test_a_model_that_has_gained_and_lost_fields_since(self) -> None:
        text = dumps(Address(street="x", zip=1))
        assert loads(text.replace('"zip":1', '"gone":1')) == Address(street="x")
        with pytest.raises(SerializationError, match="now requires 'street'"):
            loads(text.replace('"street":"x",', ""))

    def test_a_class_that_is_no_model_is_not_built(self) -> None:
        text = dumps(Address(street="x")).replace(":Address", ":Line")
        with pytest.raises(SerializationError, match="not a pydantic model"):
            loads(text)


class TestRegisteredTypes:
    def test_a_registered_type_and_its_subclasses_come_back_as_the_registered_class(self) -> None:
        class Sub(Plain):
            pass

        assert "register_type" in str(refusal(Sub()))
        register_type(Plain, encode=lambda plain: {"value": plain.value}, decode=lambda data: Plain(data["value"]))
        copy = loads(dumps({"args": [Plain({1}), Sub(2)]}))["args"]
        assert [type(item) for item in copy] == [Plain, Plain]
        assert [item.value for item in copy] == [{1}, 2]

    def test_the_nearest_registered_base_writes_even_if_it_is_registered_later(self) -> None:
        class Near(Plain):
            pass

        register_type(Plain, encode=lambda x: "far", decode=Plain, name="far")
        assert "far" in dumps(Near())
        register_type(Near, encode=lambda x: "close", decode=Near, name="near")
        assert loads(dumps(Near())).value == "close"

    def test_a_registered_class_wins_over_what_is_known_about_its_kind(self) -> None:
        register_type(NeedsSecret, encode=lambda x: x.name, decode=lambda name: NeedsSecret(name, ""), name="needs")
        assert loads(dumps(NeedsSecret("n", "s"))) == NeedsSecret("n", "")

    def test_taken_classes_and_names_are_refused(self) -> None:
        register_type(Plain, encode=str, decode=Plain, name="plain")
        with pytest.raises(ValueError, match="registered already, as 'plain'"):
            register_type(Plain, encode=str, decode=Plain, name="other")
        with pytest.raises(ValueError, match=r"'plain' belongs to .*Plain already"):
            register_type(Address, encode=str, decode=lambda text: Address(street=text), name="plain")
        with pytest.raises(ValueError, match="its own encoding"):
            register_type(dict, encode=list, decode=dict)
        with pytest.raises(TypeError, match="takes a class"):
            register_type("x", encode=str, decode=str)  # type: ignore[arg-type]

    def test_a_name_that_is_not_registered_here_is_named(self) -> None:
        with pytest.raises(SerializationError, match="'plain' is not registered in this process"):
            loads('{"$":"type","c":"plain","v":1}')

    def test_errors_of_the_users_functions_are_typed_and_placed(self) -> None:
        register_type(Plain, encode=lambda x: 1 / 0, decode=lambda text: Plain(int(text)), name="plain")
        assert refusal({"args": [Plain()]}).path == "args[0]"
        with pytest.raises(SerializationError, match="plain cannot be read: ValueError"):
            loads('{"$":"type","c":"plain","v":"x"}')


class TestPaths:
    @pytest.mark.parametrize(
        ("value", "path"),
        [
            ({"args": [{"items": [0, 1, 2, Plain()]}], "kwargs": {}}, "args[0].items[3]"),
            ({"kwargs": {"odd key": Plain()}}, "kwargs['odd key']"),
            ({"args": [(1, {"x": {5: Plain()}})]}, "args[0][1].x[5]"),
            ({"args": [Line("a", notes=[Plain()])]}, "args[0].notes[0]"),
            ({"args": [Point(1, Plain())]}, "args[0][1]"),
            ({"args": [Address(street="", zip=Plain())]}, "args[0].zip"),
            ([Plain()], "[0]"),
            (Plain(), ""),
        ],
    )
    def test_an_error_says_where(self, value: Any, path: str) -> None:
        error = refusal(value)
        assert error.path == path
        assert str(error).startswith(f"{path}: " if path else "A value")
        assert "payload_types.Plain" in str(error)
        assert error.code == "serialization"

    def test_a_long_key_is_cut(self) -> None:
        assert len(refusal({"x y" * 10_000: Plain()}).path) < 100


async def _coroutine() -> None: ...


def _advice() -> dict[str, tuple[Any, str]]:
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    loop.close()
    coroutine = _coroutine()
    coroutine.close()
    return {
        "a model": (User(username="x"), r"auth\.models\.User.*primary key \(`user\.pk`\)"),
        "a lazy model": (SimpleLazyObject(User), r"primary key \(`user\.pk`\)"),
        "a queryset": (User.objects.all(), "values_list"),
        "a manager": (User.objects, "values_list"),
        "a request": (HttpRequest(), "request"),
        "a query dict": (QueryDict("a=1&a=2"), "several values per key"),
        "a coroutine": (coroutine, "forget `await`"),
        "a future": (future, "forget `await`"),
        "a generator": ((x for x in "ab"), "list"),
        "a range": (range(3), "list"),
        "a file": (io.BytesIO(), "file"),
        "a function": (_advice, "function"),
        "a builtin": (len, "function"),
        "a class": (Line, "class"),
        "a module": (json, "module"),
        "an exception": (ValueError("x"), "exception"),
        "a lock": (threading.Lock(), "_thread.lock.*register_type"),
        "a complex number": (1j, "builtins.complex"),
        "a naive datetime": (datetime(2026, 1, 1), "naive.*make_aware"),  # noqa: DTZ001
        "a dataclass with an init-only field": (NeedsSecret("n", "s"), "'secret'.*register_type"),
    }


class TestRefusals:
    @pytest.mark.parametrize("name", _advice().keys())
    def test_a_refusal_says_what_to_do(self, name: str) -> None:
        value, advice = _advice()[name]
        with pytest.raises(SerializationError, match=advice) as caught:
            dumps({"args": [value], "kwargs": {}})
        assert caught.value.path == "args[0]"

    def test_classes_inside_functions_are_refused(self) -> None:
        @dataclasses.dataclass
        class Local:
            x: int

        class LocalEnum(Enum):
            A = 1

        for value in (Local(1), LocalEnum.A):
            assert "inside a function" in str(refusal(value))

    def test_a_class_that_is_not_found_under_its_name_is_refused(self) -> None:
        gone = dataclasses.make_dataclass("Gone", ["x"])
        gone.__module__ = __name__
        assert "not found under" in str(refusal(gone(1)))

    def test_a_secret_is_refused(self) -> None:
        import pydantic

        assert "secret" in str(refusal(pydantic.SecretStr("hush")))
        assert "hush" not in str(refusal([pydantic.SecretStr("hush")]))

    def test_a_cycle_is_refused_where_it_closes(self) -> None:
        value: dict[str, Any] = {"args": [{"name": "x"}]}
        value["args"][0]["self"] = value["args"]
        error = refusal(value)
        assert error.path == "args[0].self"
        assert "contains itself" in str(error)
        parent = Line("a")
        parent.notes.append((parent,))
        assert refusal({"args": [parent]}).path == "args[0].notes[0][0]"

    def test_the_same_object_twice_is_no_cycle(self) -> None:
        twin = [(1,)]
        assert loads(dumps([twin, twin])) == [twin, twin]

    def test_what_is_nested_too_deeply_is_refused_and_the_limit_is_not(self) -> None:
        def nest(levels: int, wrap: Any) -> Any:
            value: Any = 1
            for _ in range(levels):
                value = wrap(value)
            return value

        for wrap in (lambda x: [x], lambda x: {"k": x}, lambda x: (x,), Line.Key):
            text = dumps(nest(MAX_DEPTH, wrap))
            assert dumps(loads(text)) == text
            for depth in (MAX_DEPTH + 2, 50_000):
                assert "nested" in str(refusal({"args": [nest(depth, wrap)]}))

    def test_no_recursion_error_comes_out_however_little_stack_is_left(self) -> None:
        text = "[" * 100_000 + "]" * 100_000
        for read in (loads, canonical):
            with pytest.raises(SerializationError, match="nested"):
                read(text)
        value = loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)

        def descend() -> str:
            try:
                return descend()
            except RecursionError:
                return dumps(value)

        try:
            descend()
        except (SerializationError, RecursionError) as error:
            assert isinstance(error, (SerializationError, RecursionError))  # noqa: PT017

    def test_text_that_is_not_json_is_refused(self) -> None:
        for text in ("", "{", "[1,]", "1 2", '{"$":"tuple"'):
            with pytest.raises(SerializationError, match="not JSON"):
                loads(text)


class TestReadingIsSafe:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"$":"future","v":1}', "unknown here"),
            ('{"$":["tuple"],"v":1}', "unknown here"),
            ('{"$":"tuple"}', "cannot be read"),
            ('{"$":"uuid","v":"x"}', "uuid cannot be read"),
            ('{"$":"datetime","v":"2026-01-01T00:00:00+00:00","zone":"Mars/Base"}', "Mars/Base"),
            ('{"$":"enum","c":"tests.unit.gone:Colour","v":"RED"}', r"tests\.unit\.gone:Colour cannot be found"),
            (
                '{"$":"enum","c":"tests.serialization.payload_types:Gone","v":"RED"}',
                "payload_types:Gone cannot be found",
            ),
            ('{"$":"enum","c":"tests.serialization.payload_types:Colour","v":"BLUE"}', "no member 'BLUE'"),
            ('{"$":"enum","c":"tests.serialization.payload_types:Line","v":"BLUE"}', "not an enum"),
            ('{"$":"enum","c":"tests.serialization.payload_types:not_a_class","v":"x"}', "not a class"),
            ('{"$":"flag","c":"os:system","v":"true"}', "not a class"),
            ('{"$":"dataclass","c":"subprocess:Popen","v":{"args":"true"}}', "not a dataclass"),
            ('{"$":"dataclass","c":"tests.serialization.payload_types:Plain","v":{}}', "not a dataclass"),
            ('{"$":"namedtuple","c":"builtins:tuple","v":[]}', "not a named tuple"),
            ('{"$":"pydantic_url","c":"builtins:str","v":"x"}', "not a URL type"),
        ],
    )
    def test_what_cannot_or_must_not_be_built_is_named(self, text: str, message: str) -> None:
        with pytest.raises(SerializationError, match=message):
            loads(text)


JSON_ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()))
ZONES = st.none() | st.sampled_from([UTC, ROME, ZoneInfo("UTC"), timezone(timedelta(hours=5, minutes=45))])
HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.binary()
    | st.dates()
    | st.uuids()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.sampled_from([*Colour, *Size, *Level, *Right])
    | st.datetimes(timezones=ZONES.filter(bool), allow_imaginary=False)
    | st.times(timezones=ZONES),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4) | st.builds(Line.Key, inner),
    max_leaves=6,
)
ANYTHING = st.recursive(
    JSON_ATOMS | HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=15)
        | st.dictionaries(st.text(max_size=3) | st.just("$"), inner, max_size=5)
        | st.dictionaries(HASHABLE, inner, max_size=3)
        | st.tuples(inner, inner)
        | st.sets(HASHABLE, max_size=4)
        | st.builds(Line, st.text(), inner)
        | st.builds(Point, inner, inner)
    ),
    max_leaves=20,
)


def shuffled(value: Any) -> Any:
    """The same value with the keys of its mappings in another order."""
    if type(value) is dict:
        return {key: shuffled(item) for key, item in reversed(value.items())}
    if type(value) is list:
        return [shuffled(item) for item in value]
    return value


class TestProperties:
    @given(ANYTHING)
    @settings(max_examples=300, deadline=None)
    def test_any_value_comes_back(self, value: Any) -> None:
        text = dumps(value)
        assert same(loads(text), value)
        assert dumps(loads(text)) == text

    @given(ANYTHING)
    @settings(max_examples=150, deadline=None)
    def test_the_canonical_text_has_the_same_value_whatever_the_order(self, value: Any) -> None:
        text = canonical(dumps(value))
        assert text == canonical(dumps(shuffled(value)))
        assert text == canonical(text)
        assert canonical(dumps(loads(text))) == text


class TestCanonical:
    def test_other_values_have_other_texts(self) -> None:
        values = [1, 1.0, "1", True, (1,), [1], {1}, {"1": 1}, {1: 1}, None, Decimal(1), {"$": 1}, b"1"]
        assert len({canonical(dumps(value)) for value in values}) == len(values)

    def test_pairs_are_sorted_inside_everything(self) -> None:
        left = {"x": [({2: "b", 1: {"d": 1, "c": 2}},)], "$": 1}
        right = {"$": 1, "x": [({1: {"c": 2, "d": 1}, 2: "b"},)]}
        assert dumps(left) != dumps(right)
        assert canonical(dumps(left)) == canonical(dumps(right))

    def test_sets_are_written_the_same_under_every_hash_seed(self) -> None:
        code = (
            "from tests.serialization.payload_types import *; from django_workflows.serialization import *;"
            "words = [f'word {i}' for i in range(50)];"
            "value = [set(words), frozenset(map(tuple, words)), {Line.Key(w, (frozenset(words[:5]),)) for w in words},"
            " set(Size), Customer(fullName='x', address=Address(street=''), tags=set(words)), Right(5)];"
            "print(dumps(value)); print(canonical(dumps(value)))"
        )
        root = Path(__file__).parents[2]
        texts = {
            subprocess.run(
                [sys.executable, "-c", code],
                cwd=root,
                env={**os.environ, "PYTHONHASHSEED": seed},
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            for seed in ("0", "1", "4242")
        }
        assert len(texts) == 1
        assert "word 49" in texts.pop()


def test_size_is_in_bytes() -> None:
    assert size(dumps("é")) == len('"\\u00e9"')
    assert size("é\ud800") == 5


def test_the_codec_imports_neither_django_nor_pydantic() -> None:
    code = (
        "import sys, types; package = types.ModuleType('django_workflows'); package.__path__ = ['django_workflows'];"
        "sys.modules['django_workflows'] = package;"
        "from django_workflows import serialization;from django_workflows.values import retry, ids, durations, clock;"
        "print(serialization.dumps((1,)), 'django' in sys.modules, 'pydantic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ['{"$":"tuple","v":[1]}', "False", "False"]
