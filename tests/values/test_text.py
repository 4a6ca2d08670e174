from __future__ import annotations

import pytest

from django_workflows.values.text import truncate


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [("short", 5, "short"), ("longer", 5, "long…"), ("a b c d", 4, "a b…"), ("ab", 1, "a…"), ("", 3, "")],
)
def test_text_is_cut_where_it_is_longer(text: str, limit: int, expected: str) -> None:
    assert truncate(text, limit) == expected
