"""Checks of options: each error names the option, and says what it takes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from django_workflows.values.validation import check_limit, check_text, naming


@pytest.mark.parametrize("text", ["a", "x" * 20, "two words", "ümläut", "line\nbreak"])
def test_text_is_given_back(text: str) -> None:
    assert check_text("colour", text, 20) == text


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ("", ValueError, "colour has 1 to 20 characters, not 0"),
        ("x" * 21, ValueError, "colour has 1 to 20 characters, not 21"),
        ("a\x00", ValueError, "colour contains a NUL"),
        ("a\ud800", ValueError, "colour contains a NUL or a lone surrogate"),
        (5, TypeError, r"colour is a string, not int: use str\(...\)"),
        (b"red", TypeError, "colour is a string, not bytes"),
    ],
)
def test_text_that_the_database_would_refuse_is_refused(value: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        check_text("colour", value, 20)


@pytest.mark.parametrize("value", ["line\nbreak", "\x1b[31m", "a\u2028b"])
def test_names_for_lists_and_logs_have_printable_characters_only(value: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        check_text("name", value, 20, printable=True)


def test_a_limit_is_longer_than_zero_or_none() -> None:
    assert check_limit("timeout", None) is None
    assert check_limit("timeout", "2h") == timedelta(hours=2)
    with pytest.raises(ValueError, match="timeout is longer than zero; None means no limit"):
        check_limit("timeout", 0)
    with pytest.raises(ValueError, match="timeout: "):
        check_limit("timeout", "soon")
    with pytest.raises(TypeError, match="timeout: "):
        check_limit("timeout", object())  # type: ignore[arg-type]


def test_an_error_with_arguments_of_its_own_is_named_too() -> None:
    with pytest.raises(ValueError, match="token: 'ascii' codec"):
        naming("token", lambda text: text.encode("ascii"), "ü")
