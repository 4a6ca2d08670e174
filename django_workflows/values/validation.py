"""Checks of options that people type: the error names the option and says what it takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from . import durations

T = TypeVar("T")

#: what no text column of PostgreSQL takes: NUL, and halves of a surrogate pair
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def check_text(option: str, value: Any, limit: int, *, printable: bool = False) -> str:
    """``value``, if it is text of 1 to ``limit`` characters that the database can store.

    ``printable`` refuses line breaks and control characters too, for names that are shown in lists and logs. Raises
    ``TypeError`` for other types, ``ValueError`` for other text.
    """
    if not isinstance(value, str):
        raise TypeError(f"{option} is a string, not {type(value).__name__}: use str(...).")
    if printable and not (0 < len(value) <= limit and value.isprintable()):
        raise ValueError(f"{option} has 1 to {limit} printable characters; {value[:60]!r} does not.")
    if not 0 < len(value) <= limit:
        raise ValueError(f"{option} has 1 to {limit} characters, not {len(value)}.")
    check_storable(option, value)
    return value


def check_storable(option: str, text: str) -> None:
    """Raise ``ValueError`` for text that the database would refuse."""
    if _UNSTORABLE.search(text):
        raise ValueError(f"{option} contains a NUL or a lone surrogate, which the database cannot store.")


def check_limit(option: str, value: durations.Duration | None) -> timedelta | None:
    """A duration longer than zero, in any form that :func:`durations.parse` takes; None, which means no limit.

    An infinite limit is none, and one of more than a century is taken for one.
    """
    if value is None or (isinstance(value, float) and value == float("inf")):
        return None
    delta = min(naming(option, durations.parse, value), durations.LONGEST)
    if not delta:
        raise ValueError(f"{option} is longer than zero; None means no limit.")
    return delta


def naming(option: str, convert: Callable[..., T], *values: Any) -> T:
    """``convert(*values)``, whose ``TypeError`` or ``ValueError`` begins with the name of the option."""
    try:
        return convert(*values)
    except TypeError as error:
        raise TypeError(f"{option}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
