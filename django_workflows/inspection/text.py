"""Names, times and durations as people write them; tokens as people may see them."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.formats import date_format

from ..values.durations import humanize
from ..values.ids import is_secret
from ..values.text import truncate

_SHOWN = 4


def short_name(name: str) -> str:
    """``"shop.workflows.fulfil_order"`` -> ``"fulfil_order"``: what a person calls it."""
    return name.rpartition(".")[2] or name


def format_time(value: datetime, now: datetime) -> str:
    """In the current time zone: ``"14:05"`` today, ``"22 Nov 14:05"`` this year, with the year otherwise."""
    local, today = _local(value), _local(now)
    clock = date_format(local, "H:i")
    if abs(value - now) < timedelta(minutes=2):
        clock = date_format(local, "H:i:s")
    if local.date() == today.date():
        return clock
    return date_format(local, "j M" if local.year == today.year else "j M Y") + f" {clock}"


def _local(value: datetime) -> datetime:
    return timezone.localtime(value) if timezone.is_aware(value) else value


def format_span(span: timedelta) -> str:
    """A duration for people; ``"0 s"`` where it is negative, as two clocks may disagree."""
    return humanize(max(span, timedelta(0)))


def format_age(since: datetime, until: datetime) -> str:
    """How long from ``since`` to ``until``, as :func:`format_span` writes it."""
    return format_span(until - since)


def rough_age(since: datetime, until: datetime) -> str:
    """How long, roughly, as ages in a list are read: no seconds beside minutes, no minutes beside ten hours."""
    words = format_age(since, until).split()
    return " ".join(words[:2] if len(words[0]) > 1 or words[1] in ("min", "d") else words)


def mask_token(token: str, is_webhook: bool = False) -> str:
    """The token as any user may see it: a chosen one as it is, a secret one by its first characters."""
    return f"{token[:_SHOWN]}…" if is_secret(token, is_webhook) else token


def one_line(text: str, limit: int) -> str:
    """``text`` with its line breaks and repeated blanks as single blanks, truncated to ``limit``."""
    return truncate(" ".join(text[: limit * 4].split()), limit)
