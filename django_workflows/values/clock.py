"""The only wall clock. Everything that asks for the time asks here, so tests can move it.

The time of the log is the database's; where services read the database's clock they add :func:`offset` to it.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_offset = timedelta(0)

#: seconds of a clock that only runs forward, for measuring; tests do not move it
monotonic = time.monotonic


def now() -> datetime:
    """The time as an aware datetime in UTC."""
    return datetime.now(UTC) + _offset if _offset else datetime.now(UTC)


def offset() -> timedelta:
    """How far tests have moved the clock; zero in production."""
    return _offset


def advance(delta: timedelta) -> None:
    """For tests: move the clock of this process forward (or, with a negative ``delta``, back)."""
    global _offset
    _offset += delta


def reset() -> None:
    """For tests: back to the real time."""
    global _offset
    _offset = timedelta(0)


def require_aware(value: datetime) -> datetime:
    """``value``, if it says which instant it means. Raises ``ValueError`` for a naive datetime."""
    if value.utcoffset() is None:
        raise ValueError(
            f"{value!r} is naive: it means another instant on another machine. Use a timezone-aware datetime, "
            "from django.utils.timezone.now() or make_aware()."
        )
    return value
