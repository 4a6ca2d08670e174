"""The timeline of a run: what happened when, ready to be drawn.

Reads a window of the log without its payloads, and the entities that the window names. A long run is folded: steps of
one name share a row, and the part of the log that is drawn is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Case, F, QuerySet, TextField, Value, When
from django.db.models.functions import Cast

from ..eventlog.events import Record
from ..eventlog.statuses import TERMINAL_RUN, TERMINAL_STEP, WaitStatus
from ..models import Event, Hook, Run, Step, Wait, Worker
from ..serialization.columns import decrypted
from ..serialization.display import read
from ..values import clock
from .lanes import NEEDED_DATA, Lane, draw_lanes
from .scale import Scale

#: events that are drawn at once
WINDOW = 3000


@dataclass(slots=True)
class Timeline:
    """``first`` and ``last``: the sequences that are drawn, of ``total``. ``lanes`` in log order, ``run`` apart."""

    now: datetime
    scale: Scale
    run: Lane
    lanes: list[Lane]
    first: int
    last: int
    total: int
    #: worker id -> "host:pid"
    workers: dict[str, str] = field(default_factory=dict)
    #: correlation id -> entity
    steps: dict[str, Step] = field(default_factory=dict)
    hooks: dict[str, Hook] = field(default_factory=dict)
    waits: dict[str, Wait] = field(default_factory=dict)
    children: dict[str, Run] = field(default_factory=dict)


def timeline(
    run: Run,
    *,
    start: int | None = None,
    fold: bool = True,
    now: datetime | None = None,
    stored: Callable[[str | None], str | None] = decrypted,
) -> Timeline | None:
    """The drawing of this run from event ``start`` on; by default the end of its log. None: there is no such event.

    ``stored`` turns a column's text into encoded JSON; it may leave out what is not to be seen.
    """
    now = now or clock.now()
    total = run.last_sequence
    first = max(1, total - WINDOW + 1) if start is None else max(1, start)
    records = _records(run, first, stored)
    if not records:
        return None
    own, lanes = draw_lanes(records)
    drawn = Timeline(
        now,
        Scale(own.start, now),
        own,
        lanes,
        first,
        records[-1].sequence,
        max(total, records[-1].sequence),
    )
    _read_entities(run, drawn)
    whole = drawn.last == drawn.total
    for lane in lanes:
        _settle(drawn, lane, run)
    _settle_run(own, run)
    end = _end(run, drawn, now) if whole else records[-1].created_at
    busy = [(s.start, s.end or end) for lane in lanes for s in lane.strokes if s.kind in ("attempt", "backoff")]
    drawn.scale = Scale(own.start, end, _with_margins(busy, records), fold=fold)
    drawn.workers = _workers(lanes, run)
    return drawn


def _records(run: Run, first: int, stored: Callable[[str | None], str | None]) -> list[Record]:
    """A window of the log; the data of most events, which may be large, is left in the database."""
    needed = Case(
        When(type__in=NEEDED_DATA, then=Cast(F("data"), TextField())), default=Value(None), output_field=TextField()
    )
    rows = Event.objects.filter(run_id=run.pk, sequence__gte=first).order_by("sequence")
    columns = rows.annotate(needed=needed).values_list("sequence", "type", "correlation_id", "needed", "created_at")
    return [Record(n, kind, cid, _readable(stored(text)), at) for n, kind, cid, text, at in columns[:WINDOW]]


def _readable(text: str | None) -> str:
    """The data, or none where it was not read or cannot be."""
    return text if text is not None and isinstance(read(text), dict) else "{}"


def _read_entities(run: Run, drawn: Timeline) -> None:
    def of(model: Any, kind: str) -> QuerySet[Any]:
        ids = [lane.correlation_id for lane in drawn.lanes if lane.kind == kind]
        rows: QuerySet[Any] = model.objects
        return rows.filter(run_id=run.pk, correlation_id__in=ids) if ids else rows.none()

    drawn.steps = {s.correlation_id: s for s in of(Step, "step").defer("input", "output", "error")}
    drawn.hooks = {h.correlation_id: h for h in of(Hook, "hook").defer("metadata", "options")}
    drawn.waits = {w.correlation_id: w for w in of(Wait, "wait")}
    ids = [lane.correlation_id for lane in drawn.lanes if lane.kind == "child"]
    if ids:
        children = Run.objects.filter(parent_id=run.pk, parent_correlation_id__in=ids)
        columns = ("pk", "workflow", "status", "parent_correlation_id", "parent_id", "created_at", "completed_at")
        drawn.children = {child.parent_correlation_id: child for child in children.only(*columns)}


def _settle(drawn: Timeline, lane: Lane, run: Run) -> None:
    """Close what the entity's row says has ended: its end may lie outside the window, or be implied."""
    if lane.end is not None:
        return
    cid = lane.correlation_id
    if (step := drawn.steps.get(cid)) is not None and step.status in TERMINAL_STEP and step.completed_at is not None:
        lane.finish(step.completed_at, step.status)
    elif (wait := drawn.waits.get(cid)) is not None and wait.status != WaitStatus.WAITING:
        lane.finish(wait.completed_at or wait.due_at, wait.status)
    elif (hook := drawn.hooks.get(cid)) is not None and hook.disposed_at is not None:
        lane.finish(hook.disposed_at, "completed")
    elif lane.kind == "child" and run.status in TERMINAL_RUN and run.completed_at is not None:
        lane.finish(run.completed_at, "cancelled")


def _settle_run(own: Lane, run: Run) -> None:
    if run.status not in TERMINAL_RUN:
        return
    if own.end is None and run.completed_at is not None:
        own.finish(run.completed_at, run.status)


def _end(run: Run, drawn: Timeline, now: datetime) -> datetime:
    """Where the axis ends: now for a live run, else its last event."""
    if run.status not in TERMINAL_RUN:
        return now
    ends = [lane.end for lane in drawn.lanes if lane.end is not None]
    end: datetime = max([run.completed_at or run.last_event_at, *ends])
    return end


def _with_margins(busy: list[tuple[datetime, datetime]], records: list[Record]) -> Iterable[tuple[datetime, datetime]]:
    """Every event is a little busy, so that a delivery in the middle of a long wait gets a place of its own."""
    work = sum((end - start for start, end in busy), timedelta(0))
    if not work:
        return
    margin = max(work / 40, timedelta(milliseconds=5))
    yield from busy
    for record in records:
        yield record.created_at - margin, record.created_at + margin


def _workers(lanes: list[Lane], run: Run) -> dict[str, str]:
    ids = {stroke.worker for lane in lanes for stroke in lane.strokes if stroke.worker}
    if not ids:
        return {}
    rows = Worker.objects.filter(pk__in=ids).only("pk", "hostname", "pid")
    return {worker.pk: str(worker) for worker in rows}
