"""Small pieces of HTML that several pages share. Classes only, no inline style: the pages live under a strict CSP."""

from __future__ import annotations

from datetime import datetime

from django.contrib.admin.utils import quote
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from ..inspection.text import format_time, one_line, rough_age, short_name
from ..models import Run
from .site import admin_url

#: what stands before the word, so that nothing is said by colour alone
GLYPHS = {
    "pending": "○",
    "queued": "○",
    "running": "▶",
    "open": "▶",
    "sleeping": "☾",
    "retrying": "↻",
    "completed": "✓",
    "closed": "✓",
    "failed": "✕",
    "conflict": "✕",
    "lost": "✕",
    "dead": "✕",
    "late": "!",
    "alive": "✓",
    "cancelled": "⊘",
    "blocked": "!",
}
_ATTRIBUTES = 4
_NONE = SafeString('<span class="wf-quiet">—</span>')


def badge(status: str, *, note: str = "") -> SafeString:
    """A status as a pill: glyph and word."""
    glyph = GLYPHS.get(status, "•")
    return format_html(
        '<span class="wf-badge wf-is-{}"><span aria-hidden="true">{}</span> {}{}</span>', status, glyph, status, note
    )


def time(value: datetime | None, now: datetime) -> SafeString:
    """A moment as people say it; the exact one on hover and for machines."""
    if value is None:
        return _NONE
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.isoformat(),
        value.isoformat(sep=" ", timespec="milliseconds"),
        format_time(value, now),
    )


def age(value: datetime, now: datetime) -> SafeString:
    """How long ago; the moment on hover."""
    exact = value.isoformat(sep=" ", timespec="seconds")
    return format_html('<time datetime="{}" title="{}">{}</time>', value.isoformat(), exact, rough_age(value, now))


def run_url(run_id: str) -> str:
    """The path of a run's page; "" for an empty id."""
    return admin_url("run_change", quote(run_id)) if run_id else ""


def run_link(run: Run) -> SafeString:
    """The workflow's short name and the run's id below it."""
    return format_html(
        '<a class="wf-run" href="{}"><span class="wf-name" title="{}">{}</span>'
        '<span class="wf-id" title="{}">{}</span></a>',
        run_url(run.pk),
        run.workflow,
        short_name(run.workflow),
        run.pk,
        f"{run.pk[:5]}…{run.pk[-8:]}" if len(run.pk) > 16 else run.pk,
    )


def attributes(values: object, most: int = _ATTRIBUTES) -> SafeString:
    """Attributes as chips ``key=value``."""
    if not isinstance(values, dict) or not values:
        return _NONE
    chips = format_html_join(
        "",
        '<span class="wf-chip" title="{}={}"><span class="wf-key">{}</span>{}</span>',
        ((key, value, one_line(str(key), 30), one_line(str(value), 30)) for key, value in list(values.items())[:most]),
    )
    more = format_html('<span class="wf-quiet">+{}</span>', len(values) - most) if len(values) > most else ""
    return format_html('<span class="wf-chips">{}{}</span>', chips, more)
