"""Values as short text for a terminal."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone


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
    """``0.042 s``, ``3.1 s``, ``2 m 05 s``, ``3 h 20 m``, ``2 d 4 h``."""
    seconds = max(0.0, span.total_seconds())
    if seconds < 0.1:
        return f"{seconds:.3f} s"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes = int(seconds) // 60
    if minutes < 100:
        return f"{minutes} m {int(seconds) % 60:02} s"
    if minutes < 2 * 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02} m"
    return f"{minutes // 1440} d {minutes // 60 % 24} h"


def error_sentence(error: Any) -> str:
    """``ValueError: no such card`` from a stored error."""
    if not isinstance(error, dict):
        return ""
    name = str(error.get("type", "")).rpartition(".")[2]
    return clean(f"{name}: {error.get('message', '')}".rstrip(": "))
