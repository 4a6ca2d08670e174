"""Names, moments and spans as people say them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.formats import date_format

from ..values.durations import humanize

#: a token that nobody chose, as ``ids.new_token`` makes them
_MADE_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
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


def format_age(since: datetime, until: datetime) -> str:
    """How long, for people; ``"0 s"`` when clocks disagree."""
    return humanize(max(until - since, timedelta(0)))


def rough_age(since: datetime, until: datetime) -> str:
    """How long, roughly, as ages in a list are read: no seconds beside minutes, no minutes beside ten hours."""
    words = format_age(since, until).split()
    return " ".join(words[:2] if len(words[0]) > 1 or words[1] in ("min", "d") else words)


def is_secret(token: str, is_webhook: bool) -> bool:
    """Whether knowing the token is what lets one in: a webhook's, or one that was made and not chosen."""
    return is_webhook or _MADE_TOKEN.fullmatch(token) is not None


def mask_token(token: str, is_webhook: bool = False) -> str:
    """The token as everybody may see it: one that somebody chose as it is, a secret one by its first characters."""
    return f"{token[:_SHOWN]}…" if is_secret(token, is_webhook) else token


def one_line(text: str, limit: int) -> str:
    """``text`` on one line and not longer than ``limit``."""
    line = " ".join(text[: limit * 4].split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
