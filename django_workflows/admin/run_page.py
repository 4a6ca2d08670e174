"""Everything that the page of one run shows, gathered for its template. The same for the live refresh of its middle."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from shlex import quote
from typing import Any
from zlib import crc32

from django.db.models import TextField
from django.db.models.functions import Cast, Length
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from ..eventlog.events import TYPES, Tone
from ..eventlog.statuses import TERMINAL_RUN
from ..inspection.actions import available, open_hooks, open_waits
from ..inspection.redaction import Redactor
from ..inspection.text import format_age, mask_token, short_name
from ..inspection.timeline import timeline
from ..inspection.timeline_rows import rows_of
from ..inspection.waiting import waits_for
from ..models import Event, Run, StreamChunk
from ..serialization.columns import with_raw
from ..serialization.display import Failure, failure, read, shown
from ..values import clock
from ..values.durations import humanize
from .rendering import GLYPHS, run_url
from .site import admin_url
from .verbs import VERBS, may_dispose, may_resume

#: events of the log on one page
LOG_PAGE = 100
#: seconds after which the page of a live run changes even if nothing has happened: its words count time
_STALE = 10


@dataclass(frozen=True, slots=True)
class LogRow:
    """One event of the log as the page lists it; ``size`` is that of its data, for people."""

    sequence: int
    at: datetime
    offset: str
    type: str
    words: str
    tone: str
    entity: str
    size: str
    url: str


def load(run_id: str) -> Run | None:
    """The run with its payloads undecoded, as ``raw_input``, ``raw_output``, ``raw_error``."""
    rows = Run.objects.filter(pk=run_id.replace("\x00", "")).select_related("parent")
    parent = ("parent__input", "parent__output", "parent__error")
    return with_raw(rows.defer(*parent), "input", "output", "error").defer(*parent).first()


def version(run: Run, now: datetime) -> str:
    """Changes whenever the page of the run would."""
    parts = [run.last_sequence, run.status, run.wake_at, run.blocked_until, run.blocked_reason, run.attributes]
    if run.status not in TERMINAL_RUN:
        parts.append(int(now.timestamp()) // _STALE)
    return f"{crc32(repr(parts).encode('utf-8', 'replace')):x}"


def live_context(request: HttpRequest, run: Run) -> dict[str, Any]:
    """The context of ``run_live.html``."""
    now = clock.now()
    redact = Redactor([run.pk], show=may_resume(request))
    found = failure(read(redact.stored(run.raw_error)))  # type: ignore[attr-defined]
    active = run.status not in TERMINAL_RUN
    return {
        "run": run,
        "now": now,
        "version": version(run, now),
        "active": active,
        "status": "blocked" if active and run.blocked_reason else run.status,
        "glyph": GLYPHS["blocked" if active and run.blocked_reason else run.status],
        "reasons": [replace(reason, text=redact(reason.text)) for reason in waits_for(run, now)],
        "failure": found,
        "headline": _headline(run, found, now),
        "facts": _facts(run, now),
        "verbs": _verbs(request, run),
        "hooks": _hooks(request, run, now),
        "waits": open_waits(run) if VERBS["wake"].allowed(request) else [],
        "values": _values(run, redact),
        "commands": _commands(request, run),
        "streams": _streams(run),
        **_timeline(request, run, redact, now),
        **_log(request, run),
    }


# --- head ------------------------------------------------------------------------------------------------------------


def _headline(run: Run, found: Failure | None, now: datetime) -> str:
    took = format_age(run.started_at or run.created_at, run.completed_at or now)
    if run.status == "completed":
        return _("Completed in %(took)s.") % {"took": took}
    if run.status == "failed":
        return found.sentence if found is not None else _("Failed after %(took)s.") % {"took": took}
    if run.status == "cancelled":
        return _("Cancelled after %(took)s.") % {"took": took}
    return ""


def _facts(run: Run, now: datetime) -> list[tuple[str, Any, str]]:
    """(term, value, link); empty facts are omitted."""
    facts: list[tuple[str, Any, str]] = [
        (_("Workflow"), run.workflow, ""),
        (_("Queue"), run.queue, ""),
        (_("Priority"), run.priority, ""),
        (_("Idempotency key"), run.idempotency_key, ""),
        (_("Forked from"), run.forked_from, run_url(run.forked_from)),
        (_("Continues"), run.continued_from, run_url(run.continued_from)),
        *_times(run, now),
        (_("Error code"), run.error_code, ""),
        (_("Retried"), _("%(n)d times") % {"n": run.life} if run.life else "", ""),
        (_("Code version"), run.code_version, ""),
        (_("Events"), f"{run.last_sequence:,}", ""),
    ]
    if run.parent is not None:
        parent = f"{short_name(run.parent.workflow)} {run.parent_id}"
        facts.insert(2, (_("Child of"), parent, run_url(str(run.parent_id))))
    return [fact for fact in facts if fact[1]]


def _times(run: Run, now: datetime) -> list[tuple[str, Any, str]]:
    late = run.started_at - run.created_at if run.started_at else timedelta(0)
    return [
        (_("Created"), run.created_at, ""),
        (_("Started"), run.started_at, ""),
        (_("Queued for"), humanize(late) if late > timedelta(seconds=1) else "", ""),
        (_("Ended"), run.completed_at, ""),
        (_("Took") if run.completed_at else _("Age"), format_age(run.created_at, run.completed_at or now), ""),
        (_("Deadline"), run.deadline_at, ""),
        (_("Kept until"), run.expires_at, ""),
    ]


def _verbs(request: HttpRequest, run: Run) -> list[dict[str, Any]]:
    names = [name for name in available(run) if VERBS[name].allowed(request)]
    return [
        {"label": VERBS[name].label, "url": action_url(run, name), "grave": VERBS[name].is_grave, "name": name}
        for name in names
    ]


def action_url(run: Run, verb: str) -> str:
    """The path of the confirmation page of a verb."""
    return admin_url("run_act", run.pk, verb)


def _hooks(request: HttpRequest, run: Run, now: datetime) -> list[dict[str, Any]]:
    resume, dispose = may_resume(request), may_dispose(request)
    if not (resume or dispose):
        return []
    return [
        {
            "token": hook.token if resume else mask_token(hook.token, hook.is_webhook),
            "what": _("webhook") if hook.is_webhook else _("hook"),
            "since": format_age(hook.created_at, now),
            "resume": admin_url("run_resume", run.pk, hook.pk) if resume else "",
            "dispose": admin_url("run_dispose", run.pk, hook.pk) if dispose else "",
        }
        for hook in open_hooks(run)
    ]


def _values(run: Run, redact: Redactor) -> list[dict[str, Any]]:
    values = []
    for name, label in (("input", _("Input")), ("output", _("Output"))):
        text = redact.stored(getattr(run, f"raw_{name}"))
        if text is not None and not (name == "output" and run.status != "completed" and text == "null"):
            url = admin_url("run_value", run.pk, name)
            values.append({"label": label, "value": shown(text), "url": url, "name": name})
    return values


def _streams(run: Run) -> list[str]:
    rows = StreamChunk.objects.filter(run_id=run.pk).values_list("stream", flat=True)
    return sorted(rows.distinct()[:20])


def _commands(request: HttpRequest, run: Run) -> list[tuple[str, str]]:
    """What to type elsewhere: the command line, and curl where the REST API is included."""
    commands = [
        (_("Look"), f"python manage.py workflows show {run.pk}"),
        (_("Verify its log"), f"python manage.py workflows verify {run.pk}"),
    ]
    if run.status not in TERMINAL_RUN:
        commands.append((_("Cancel"), f"python manage.py workflows cancel {run.pk}"))
        hooks = open_hooks(run)[:1] if may_resume(request) else []
        commands.extend((_("Resume"), f"python manage.py workflows resume {quote(h.token)} '{{}}'") for h in hooks)
    elif run.status == "failed":
        commands.append((_("Retry"), f"python manage.py workflows retry {run.pk}"))
    with suppress(NoReverseMatch):  # the REST API is not included
        url = request.build_absolute_uri(reverse("django_workflows:run-detail", args=[run.pk]))
        commands.append((_("Over HTTP"), f"curl -H 'Accept: application/json' {url}"))
    return commands


# --- timeline --------------------------------------------------------------------------------------------------------


def _timeline(request: HttpRequest, run: Run, redact: Redactor, now: datetime) -> dict[str, Any]:
    fold = request.GET.get("scale") != "linear"
    drawn = timeline(run, start=_number(request, "from"), fold=fold, now=now, stored=redact.stored)
    if drawn is None:
        return {"rows": []}
    rows = rows_of(drawn)
    for row in rows:
        row.link = run_url(row.child) if row.child else ""
    page = run_url(run.pk)
    size = drawn.last - drawn.first + 1
    return {
        "rows": rows,
        "scale": drawn.scale,
        "fold": fold,
        "scale_url": f"{page}?scale=linear" if fold else page,
        "drawn": drawn,
        "partial": size < drawn.total,
        "earlier_url": f"{page}?from={max(1, drawn.first - size)}" if drawn.first > 1 else "",
        "later_url": f"{page}?from={drawn.last + 1}" if drawn.last < drawn.total else "",
    }


def _number(request: HttpRequest, name: str) -> int | None:
    try:
        return min(max(int(request.GET[name]), 0), 2**31 - 1)
    except (KeyError, ValueError):
        return None


# --- log -------------------------------------------------------------------------------------------------------------


def _log(request: HttpRequest, run: Run) -> dict[str, Any]:
    """One page of the log: by default the last, which is where something happens."""
    last = run.last_sequence
    after = _number(request, "after")
    after = max(0, last - LOG_PAGE) if after is None else after
    rows = Event.objects.filter(run_id=run.pk, sequence__gt=after).order_by("sequence")
    columns = ("sequence", "type", "correlation_id", "created_at", "size")
    found = rows.annotate(size=Length(Cast("data", TextField()))).values_list(*columns)[:LOG_PAGE]
    log = [
        LogRow(
            sequence,
            at,
            f"+{format_age(run.created_at, at)}",
            kind,
            kind.replace("_", " "),
            TYPES[kind].traits.tone if kind in TYPES else Tone.FAINT,
            entity,
            _bytes(size),
            admin_url("run_event", run.pk, sequence),
        )
        for sequence, kind, entity, at, size in found
    ]
    page = run_url(run.pk)
    end = log[-1].sequence if log else after
    return {
        "log": log,
        "log_partial": last > len(log),
        "log_first_url": f"{page}?after=0#log" if after > 0 else "",
        "log_earlier_url": f"{page}?after={max(0, after - LOG_PAGE)}#log" if after > 0 else "",
        "log_later_url": f"{page}?after={end}#log" if end < last else "",
        "log_last_url": f"{page}#log" if end < last else "",
    }


def _bytes(size: int | None) -> str:
    value = float(size or 0)
    for unit in ("B", "KB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} MB"
