"""The filters of the list of runs. What cannot be read is a 400, never an empty list and never an error of ours."""

from __future__ import annotations

from datetime import UTC, datetime

from django.http import QueryDict
from rest_framework.exceptions import ValidationError

from ..eventlog.statuses import RunStatus
from ..inspection.run_filter import RunFilter, parse_attribute
from . import schemas

STATUSES = [status.value for status in RunStatus]
INDEX_LIMIT = 2**31

PARAMETERS = [
    schemas.query("status", "Runs in this state; may be given several times.", enum=STATUSES, many=True),
    schemas.query("workflow", "Runs of the workflow of this name; may be given several times.", many=True),
    schemas.query("attribute", "Runs with this attribute, as `key=value`; several must all fit.", many=True),
    schemas.query("since", "Runs created at this time or later: ISO 8601 with an offset."),
    schemas.query("until", "Runs created before this time: ISO 8601 with an offset."),
]
DATA_IF_ASKED = schemas.query("data", "`all` shows the payloads, too.", enum=["none", "all"])
DATA = schemas.query("data", "`none` leaves the payloads out.", enum=["none", "all"])


def read_filter(given: QueryDict) -> RunFilter:
    """What the query string asks for.

    Raises:
        ValidationError: a filter cannot be read.
    """
    return RunFilter(
        statuses=[_status(text) for text in given.getlist("status")],
        workflows=[_clean("workflow", text) for text in given.getlist("workflow")],
        attributes=_attributes(given.getlist("attribute")),
        since=_moment("since", given.get("since")),
        until=_moment("until", given.get("until")),
    )


def wants_data(given: QueryDict, *, unless_asked: bool = True) -> bool:
    """Whether payloads are to be shown; where the query does not say, ``unless_asked``."""
    text = given.get("data", "all" if unless_asked else "none")
    if text not in ("none", "all"):
        raise _invalid("data", "It is `none` or `all`.")
    return text == "all"


def read_index(name: str, text: str, *, negative: bool = True) -> int:
    """The index of a chunk. Raises ValidationError."""
    digits = text.removeprefix("-") if negative else text
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 10 or int(digits) >= INDEX_LIMIT:
        raise _invalid(name, "A whole number is expected.")
    return int(text)


def _status(text: str) -> str:
    if text not in STATUSES:
        raise _invalid("status", f"It is one of: {', '.join(STATUSES)}.")
    return text


def _attributes(texts: list[str]) -> dict[str, str]:
    try:
        return dict(parse_attribute(_clean("attribute", text)) for text in texts)
    except ValueError:
        raise _invalid("attribute", "It has the form key=value.") from None


def _clean(name: str, text: str) -> str:
    if "\x00" in text or (not text.isprintable() and any(0xD800 <= ord(char) <= 0xDFFF for char in text)):
        raise _invalid(name, "It contains a character that no run has.")
    return text


def _moment(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        # In a query string, a "+" that was not escaped arrives as a blank.
        moment = datetime.fromisoformat(text.replace(" ", "+") if text.count(" ") == 1 and "T" in text else text)
        if moment.utcoffset() is None:
            raise ValueError("naive")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _invalid(name, "A time in ISO 8601 with an offset is expected: 2026-01-31T12:00:00Z.") from None


def _invalid(name: str, sentence: str) -> ValidationError:
    return ValidationError({name: [sentence]})


__all__ = ["DATA", "DATA_IF_ASKED", "PARAMETERS", "read_filter", "read_index", "wants_data"]
