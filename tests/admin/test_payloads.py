"""Stored values as text for people, whatever they contain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from django_workflows.serialization import dumps, encode_error
from django_workflows.serialization.columns import decrypted
from django_workflows.serialization.display import failure, pretty, read, shown


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, None, True]}, '{"a": [1, null, true]}'),
        (Decimal("9.90"), 'Decimal("9.90")'),
        (datetime(2026, 1, 2, tzinfo=UTC), 'datetime("2026-01-02T00:00:00+00:00")'),
        (timedelta(days=3, seconds=1), "timedelta(3, 1, 0)"),
        ((1, "two"), 'tuple(1, "two")'),
        (UUID(int=5), 'UUID("00000000-0000-0000-0000-000000000005")'),
        ({"$": "not a tag"}, 'dict([["$", "not a tag"]])'),
        ("Zoë <b>", '"Zoë <b>"'),
        ("lone \ud800", '"lone ?"'),
        ({"text": "two\nlines"}, '{\n  "text": """\ntwo\nlines"""\n}'),
    ],
)
def test_values_read_as_python_writes_them(value: object, expected: str) -> None:
    assert pretty(dumps(value)) == expected


def test_what_does_not_fit_on_a_line_is_indented() -> None:
    text = pretty(dumps({"names": ["a" * 40, "b" * 40, "c" * 40]}))
    assert text.splitlines()[:3] == ["{", '  "names": [', f'    "{"a" * 40}",']


def test_a_class_that_is_gone_is_no_obstacle() -> None:
    assert pretty('{"$":"dataclass","c":"gone.away:Box","v":{"size":3}}') == "Box(size=3)"
    assert pretty('{"$":"enum","c":"gone.away:Colour","v":"RED"}') == 'Colour("RED")'


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000])
def test_text_that_is_not_json_is_shown_as_it_is(text: str) -> None:
    assert pretty(text) == text
    assert read(text) is None


def test_a_large_value_is_cut_and_says_so() -> None:
    value = shown(dumps("x" * 50_000), limit=1000)
    assert len(value.text) == 1000
    assert value.rest == 49_002


def test_an_error_with_its_causes() -> None:
    try:
        try:
            raise KeyError("k")
        except KeyError as cause:
            raise ValueError("no") from cause
    except ValueError as exc:
        found = failure(read(encode_error(exc)))
    assert found is not None
    assert found.sentence == "ValueError: no"
    assert [cause.type for cause in found.causes] == ["KeyError"]
    assert "raise ValueError" in found.traceback


def test_what_cannot_be_decrypted_says_so() -> None:
    assert "encrypted" in (decrypted("enc:1:gAAAA") or "")
