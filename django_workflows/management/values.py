"""Values as short text for a terminal."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone

from django_workflows.serialization.display import failure, represent
from django_workflows.values.text import truncate


def show_value(value: Any, width: int = 100) -> str:
    """A value on one line, cut to ``width`` characters, with what a terminal would act upon made visible."""
    return truncate(clean(value if isinstance(value, str) else represent(value)), width)


def clean(text: str) -> str:
    """Control characters, escape sequences among them, as ``\\x1b``: text from a log must not move the cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def show_moment(moment: datetime | None) -> str:
    """``2026-01-31 12:00:00`` in the current time zone; "" for None."""
    return "" if moment is None else timezone.localtime(moment).strftime("%Y-%m-%d %H:%M:%S")


def error_sentence(error: Any) -> str:
    """``ValueError: no such card`` from a decoded error; "" where there is none."""
    found = failure(error)
    return "" if found is None else clean(found.sentence)
