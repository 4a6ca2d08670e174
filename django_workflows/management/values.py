"""Values as short text for a terminal."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from django_workflows.values.durations import humanize


def show_value(value: Any, width: int = 100) -> str:
    """A value on one line, cut to ``width`` characters, with what a terminal would act upon made visible."""
    text = clean(value if isinstance(value, str) else repr(value))
    return shorten(text, width)


def clean(text: str) -> str:
    """Control characters, escape sequences among them, as ``\\x1b``: text from a log must not move the cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(1, width - 1)] + "…"


def show_moment(moment: datetime | None) -> str:
    return "" if moment is None else timezone.localtime(moment).strftime("%Y-%m-%d %H:%M:%S")


def show_span(span: timedelta) -> str:
    return humanize(max(span, timedelta(0)))


def error_sentence(error: Any) -> str:
    """``ValueError: no such card`` from a stored error."""
    if not isinstance(error, dict):
        return ""
    name = str(error.get("type", "")).rpartition(".")[2]
    return clean(f"{name}: {error.get('message', '')}".rstrip(": "))
