"""The filters of the list of runs. What cannot be read is a 400, never an empty list and never an error of ours."""

from __future__ import annotations

from datetime import UTC, datetime

from django.http import QueryDict
from rest_framework.exceptions import ValidationError

from ..eventlog.statuses import RunStatus
from ..models.querysets import RunQuerySet
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
DATA = schemas.query("data", "`none` leaves the payloads out.", enum=["none", "all"])


def filter_runs(runs: RunQuerySet, given: QueryDict) -> RunQuerySet:
    """The runs that the query string asks for.

    Raises:
        ValidationError: a filter cannot be read.
    """
    if statuses := given.getlist("status"):
        runs = runs.filter(status__in=[_status(text) for text in statuses])
    if workflows := given.getlist("workflow"):
        runs = runs.filter(workflow__in=[_clean("workflow", text) for text in workflows])
    for text in given.getlist("attribute"):
        key, equals, value = _clean("attribute", text).partition("=")
        if not equals or not key:
            raise _invalid("attribute", "It has the form key=value.")
        runs = runs.with_attributes(**{key: value})
    if (since := given.get("since")) is not None:
        runs = runs.filter(created_at__gte=_moment("since", since))
    if (until := given.get("until")) is not None:
        runs = runs.filter(created_at__lt=_moment("until", until))
    return runs


def wants_data(given: QueryDict) -> bool:
    """Whether payloads are to be shown."""
    text = given.get("data", "all")
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


def _clean(name: str, text: str) -> str:
    if "\x00" in text or (not text.isprintable() and any(0xD800 <= ord(char) <= 0xDFFF for char in text)):
        raise _invalid(name, "It contains a character that no run has.")
    return text


def _moment(name: str, text: str) -> datetime:
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


__all__ = ["DATA", "PARAMETERS", "filter_runs", "read_index", "wants_data"]
