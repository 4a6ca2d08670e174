"""How long: seconds, ``timedelta``, or text such as ``"90s"``, ``"1h 30m"``, ``"2w"``; and in words for people."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from . import clock

#: every form that is accepted; a number is seconds
Duration = float | timedelta | str

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_PART = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|[smhdw])(?![a-zA-Z])")
_FORMS = 'seconds (a number), a timedelta, or text such as "90s", "5m", "1h 30m", "3d", "2w" or "500ms"'


def parse(value: Duration) -> timedelta:
    """A duration in any accepted form, at least zero, to the microsecond.

    Raises ``ValueError`` for what is negative, infinite, NaN, too long for a ``timedelta`` (2.7 million years) or not
    readable, and ``TypeError`` for other types.
    """
    try:
        delta = _parse(value)
    except OverflowError:
        shown = repr(value) if isinstance(value, str) else "The number"
        raise ValueError(f"{shown[:60]} is too long a duration; the longest is {timedelta.max.days} days.") from None
    if delta < timedelta(0):
        raise ValueError(f"A duration cannot be negative: {value!r}.")
    return delta


def _parse(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not a duration. Use {_FORMS}.")
    if isinstance(value, (int, float)):
        if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124  (NaN)
            raise ValueError(f"{value!r} is not a duration. Use a finite number of seconds.")
        return timedelta(seconds=value)
    if isinstance(value, str):
        return _parse_text(value)
    if isinstance(value, date):
        raise TypeError(f"A duration is expected, not a point in time ({value!r}). Use {_FORMS}.")
    raise TypeError(f"A {type(value).__name__} is not a duration. Use {_FORMS}.")


def _parse_text(text: str) -> timedelta:
    total, position, seen = timedelta(0), 0, set[str]()
    stripped = text.rstrip()
    while match := _PART.match(stripped, position):
        number, unit = match.groups()
        if unit in seen:
            break
        seen.add(unit)
        total += float(number) * _UNITS[unit]
        position = match.end()
    if position < len(stripped) or not seen:
        raise ValueError(f"{text[:60]!r} is not a duration. Use {_FORMS}.")
    return total


#: a limit that is longer is none: added to any time of this century it still is a time
LONGEST = timedelta(days=36_525)
#: the due time of what never comes: the last days of the calendar are left for zones that are ahead of UTC
NEVER = datetime(9999, 12, 30, tzinfo=UTC)


def due(value: Duration | datetime, now: datetime) -> datetime:
    """As :func:`until`, for waits: what is infinite or after the calendar's end never comes, and is :data:`NEVER`."""
    if isinstance(value, float) and value == float("inf"):
        return NEVER
    if isinstance(value, datetime):
        return until(value, now) if clock.require_aware(value) < NEVER else NEVER
    clock.require_aware(now)
    delta = parse(value)
    return now.astimezone(UTC) + delta if delta < NEVER - now else NEVER


def until(value: Duration | datetime, now: datetime) -> datetime:
    """When it is over, in UTC: ``now`` plus a duration, or an aware datetime itself, but never before ``now``.

    Raises what :func:`parse` raises, and ``ValueError`` for a naive datetime or a time after the year 9999.
    """
    clock.require_aware(now)
    try:
        if isinstance(value, datetime):
            return max(clock.require_aware(value).astimezone(UTC), now.astimezone(UTC))
        return now.astimezone(UTC) + parse(value)
    except OverflowError:
        raise ValueError(f"{value!r} from now is after the year 9999.") from None


def seconds(value: Duration) -> float:
    """A duration in any accepted form as seconds."""
    return parse(value).total_seconds()


def timeout_seconds(timeout: Duration | None) -> float | None:
    """A time limit as seconds; None, no limit, stays None. Raises as :func:`parse` does."""
    return None if timeout is None else seconds(timeout)


_WORDS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def humanize(delta: timedelta) -> str:
    """For people: ``"350 ms"``, ``"1.5 s"``, ``"40 s"``, ``"3 h"``, ``"2 d 4 h"``. What is smaller is cut off."""
    if delta < timedelta(0):
        return f"-{humanize(-delta)}"
    if timedelta(0) < delta < timedelta(seconds=1):
        return f"{delta // timedelta(milliseconds=1)} ms"
    if delta < timedelta(seconds=10):
        return f"{delta // timedelta(milliseconds=100) / 10:g} s"
    rest = delta // timedelta(seconds=1)
    for index, (word, size) in enumerate(_WORDS):
        count, rest = divmod(rest, size)
        if count:
            smaller, unit = _WORDS[index + 1] if index + 1 < len(_WORDS) else ("", 1)
            more = f" {rest // unit} {smaller}" if smaller and rest // unit else ""
            return f"{count} {word}{more}"
    return "0 s"
