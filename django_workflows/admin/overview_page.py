"""The overview as its template wants it: the same figures, with the positions of the small charts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpRequest
from django.utils.http import urlencode

from ..inspection.overview import Overview, Recent, overview
from ..inspection.redaction import Redactor
from ..inspection.scale import percent
from ..inspection.text import format_age, format_time, one_line, rough_age, short_name
from ..models import Run
from ..serialization.display import failure, read
from ..values.durations import humanize
from .rendering import GLYPHS, run_url
from .site import admin_url
from .verbs import may_resume

#: from the bottom of a bar to its top
_ORDER = ("completed", "running", "pending", "cancelled", "failed")
_HEIGHT = 120


def overview_context(request: HttpRequest) -> dict[str, Any]:
    """The context of ``overview.html``."""
    found = overview()
    redact = Redactor([run.pk for run in (*found.blocked, *found.failed)], show=may_resume(request))
    return {
        "overview": found,
        "list_url": admin_url("run_changelist"),
        "counts": _counts(found),
        "chart": _chart(found.recent),
        "blocked": [_listed(run, found, redact) for run in found.blocked],
        "failed": [_listed(run, found, redact) for run in found.failed],
        "workflows": _workflows(found),
        "queues": _queues(found),
        "steps": _steps(found),
        "running": _running(found),
        "workers": _workers(found),
        "served": any(state.state != "dead" for state in found.workers),
    }


def _list(**conditions: str) -> str:
    return f"{admin_url('run_changelist')}?{urlencode(conditions)}"


def _counts(found: Overview) -> list[dict[str, Any]]:
    tiles: list[dict[str, Any]] = [
        {"status": "blocked", "glyph": GLYPHS["blocked"], "count": len(found.blocked), "url": _list(blocked="yes")}
    ]
    if len(found.blocked) == 20:
        tiles[0]["count"] = "20+"
    for status in ("running", "pending", "failed", "completed", "cancelled"):
        tile = {"status": status, "glyph": GLYPHS[status], "count": found.statuses[status], "url": _list(status=status)}
        tiles.append(tile)
    return tiles


def _chart(recent: Recent) -> dict[str, Any]:
    """Runs over time as stacked bars, in percent of the width and pixels of the height."""
    most = max((bucket.total for bucket in recent.buckets), default=0)
    end = recent.buckets[-1].end
    columns, width = [], 100 / max(len(recent.buckets), 1)
    for place, bucket in enumerate(recent.buckets):
        top, parts = float(_HEIGHT), []
        for status in _ORDER:
            count = bucket.counts.get(status, 0)
            if count:
                height = count / most * (_HEIGHT - 4)
                top -= height
                parts.append({"status": status, "y": f"{top:.2f}", "height": f"{height:.2f}"})
        if parts:
            said = ", ".join(f"{bucket.counts[s]} {s}" for s in _ORDER if bucket.counts.get(s))
            title = f"{format_time(bucket.start, end)} to {format_time(bucket.end, end)}: {said}"
            columns.append(
                {"x": percent(place * width), "width": percent(width * 0.84), "parts": parts, "title": title}
            )
    return {
        "columns": columns,
        "height": _HEIGHT,
        "most": most,
        "total": f"{recent.total:,}",
        "since": format_time(recent.since, end),
        "middle": format_time(recent.since + (end - recent.since) / 2, end),
        "span": format_age(recent.since, end),
        "cut": recent.cut,
        "statuses": [s for s in reversed(_ORDER) if any(s in bucket.counts for bucket in recent.buckets)],
    }


def _listed(run: Run, found: Overview, redact: Redactor) -> dict[str, Any]:
    ended = run.completed_at or run.created_at
    error = failure(read(redact.stored(run.raw_error)))  # type: ignore[attr-defined]
    return {
        "name": short_name(run.workflow),
        "id": run.pk,
        "url": run_url(run.pk),
        "reason": one_line(redact(run.blocked_reason), 240),
        "tries": run.blocked_count,
        "error": one_line(error.sentence, 200) if error is not None else run.error_code,
        "ago": rough_age(ended, found.now),
    }


def _workflows(found: Overview) -> list[dict[str, Any]]:
    most = max((share.total for share in found.recent.workflows), default=1)
    return [
        {
            "name": short_name(share.name),
            "full": share.name,
            "url": _list(workflow=share.name),
            "failed_url": _list(workflow=share.name, status="failed"),
            "total": f"{share.total:,}",
            "failed": f"{share.counts.get('failed', 0):,}",
            "rate": _rate(share.failed),
            "bad": share.failed >= 0.05,
            "width": percent(share.total / most * 100),
            "failed_width": percent(share.counts.get("failed", 0) / most * 100),
        }
        for share in found.recent.workflows
    ]


def _rate(share: float) -> str:
    return "0 %" if not share else f"{share * 100:.1f} %" if share < 0.1 else f"{share * 100:.0f} %"


def _queues(found: Overview) -> list[dict[str, Any]]:
    return [
        {
            "name": queue.name,
            "url": _list(queue=queue.name),
            "due": f"{queue.due:,}",
            "steps": f"{queue.steps:,}",
            "oldest": format_age(min(filter(None, (queue.oldest_due, queue.oldest_step))), found.now)
            if queue.oldest_due or queue.oldest_step
            else "",
            "workers": queue.workers,
            "unserved": not queue.workers and bool(queue.due or queue.steps),
        }
        for queue in found.queues
    ]


def _steps(found: Overview) -> list[dict[str, Any]]:
    slowest = max((share.p95 for share in found.steps), default=1.0) or 1.0
    return [
        {
            "name": short_name(share.name),
            "full": share.name,
            "count": f"{share.count:,}",
            "median": _seconds(share.median),
            "p95": _seconds(share.p95),
            "slowest": _seconds(share.slowest),
            "slowest_url": run_url(share.slowest_run),
            "rate": _rate(share.failure_rate),
            "bad": share.failure_rate >= 0.05,
            "retried": _rate(share.retried / share.count),
            "median_width": percent(share.median / slowest * 100),
            "p95_width": percent(share.p95 / slowest * 100),
        }
        for share in found.steps
    ]


def _seconds(value: float) -> str:
    return humanize(timedelta(seconds=value))


def _running(found: Overview) -> list[dict[str, Any]]:
    names = {state.worker.pk: str(state.worker) for state in found.workers}
    return [
        {
            "name": short_name(step.name),
            "url": run_url(step.run_id),
            "since": format_age(step.started_at or step.created_at, found.now),
            "attempt": step.attempt,
            "worker": names.get(step.worker_id or "", ""),
        }
        for step in found.running
    ]


def _workers(found: Overview) -> list[dict[str, Any]]:
    return [
        {
            "name": state.worker.hostname,
            "pid": state.worker.pid,
            "state": state.state,
            "glyph": GLYPHS[state.state],
            "queues": ", ".join(state.worker.queues) or "all",
            "running": state.running,
            "concurrency": state.worker.concurrency,
            "width": percent(min(state.running / max(state.worker.concurrency, 1), 1.0) * 100),
            "silent": format_age(state.worker.heartbeat_at, found.now),
            "up": format_age(state.worker.started_at, found.now),
            "version": state.worker.code_version,
        }
        for state in found.workers
    ]
