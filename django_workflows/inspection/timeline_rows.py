"""The rows of a drawn timeline: bars, dots and words, with every position ready for SVG."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from ..serialization.display import failure
from ..values.durations import humanize
from .lanes import Lane, Mark, Stroke
from .scale import percent
from .text import format_age, format_time, mask_token, one_line, short_name
from .timeline import Timeline

#: rows that are drawn one by one; beyond that, steps of one name share a row
MAX_ROWS = 60
_BINS = 250
#: percent of the width that a bar needs to hold the sign of failure
_CROSS = 3.0
_SLOWEST = 10


@dataclass(frozen=True, slots=True)
class Bar:
    """``look`` names the CSS classes: kind and outcome. ``title`` says in words what it is."""

    x: str
    width: str
    end: str
    look: str
    title: str
    #: failed or lost, and wide enough to say so
    failed: bool = False
    #: pixels: how thick a stroke is says what it is
    y: int = 5
    height: int = 14


@dataclass(frozen=True, slots=True)
class Dot:
    """Something at one moment; ``x`` is its place on the axis."""

    x: str
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a step, for the table below its row."""

    number: str
    started: datetime
    took: str
    outcome: str
    worker: str
    error: str


@dataclass(slots=True)
class Row:
    """One line of the timeline: its words, its bars and dots, and the facts that opening it shows."""

    kind: str
    label: str
    #: the full name, the token or the id
    full: str
    outcome: str
    #: duration and the like, beside the label
    aside: str
    #: a sentence for those who cannot see the bars
    spoken: str
    bars: list[Bar] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    #: the first and the last event that is about this
    correlation_id: str = ""
    child: str = ""
    #: where the child is shown; set by the door
    link: str = ""
    is_open: bool = False
    members: int = 1


def rows_of(drawn: Timeline) -> list[Row]:
    """All rows, the run's own first. More than ``MAX_ROWS``: what went well is gathered by name."""
    lanes = drawn.lanes
    rows = [_run_row(drawn)]
    if len(lanes) <= MAX_ROWS:
        return rows + [_row(drawn, lane) for lane in lanes]
    groups: dict[tuple[str, str], list[Lane]] = defaultdict(list)
    for lane in lanes:
        groups[lane.kind, _name(drawn, lane)].append(lane)
    alone = 0
    for members in groups.values():
        odd = [lane for lane in members if lane.outcome in ("running", "failed")][: max(0, MAX_ROWS // 2 - alone)]
        if len(members) <= 3:
            odd = members
        alone += len(odd)
        apart = {lane.correlation_id for lane in odd}
        gathered = [lane for lane in members if lane.correlation_id not in apart]
        if gathered:
            rows.append(_group_row(drawn, gathered))
        rows.extend(_row(drawn, lane) for lane in odd)
    return rows


def _name(drawn: Timeline, lane: Lane) -> str:
    if lane.kind == "step" and (step := drawn.steps.get(lane.correlation_id)) is not None:
        return step.name
    if lane.kind == "child" and (child := drawn.children.get(lane.correlation_id)) is not None:
        return child.workflow
    parts = lane.correlation_id.split(":")
    return parts[1] if len(parts) > 2 else parts[0]


# --- one entity ------------------------------------------------------------------------------------------------------


def _row(drawn: Timeline, lane: Lane) -> Row:
    row = _ROWS[lane.kind](drawn, lane)
    row.correlation_id = lane.correlation_id
    row.is_open = lane.end is None
    row.bars = [_bar(drawn, row.label, stroke) for stroke in lane.strokes]
    row.dots = [_dot(drawn, row.label, mark) for mark in lane.marks]
    row.facts.append(
        ("Began", f"+{format_age(drawn.scale.start, lane.start)}, at {format_time(lane.start, drawn.now)}")
    )
    row.facts.append(("Log", f"{lane.correlation_id} (from event {lane.sequence})"))
    return row


def _took(drawn: Timeline, lane: Lane) -> str:
    return format_age(lane.start, lane.end or drawn.now)


def _step_row(drawn: Timeline, lane: Lane) -> Row:
    name = _name(drawn, lane)
    label, attempts = short_name(name), lane.attempts
    outcome = "queued" if lane.end is None and (not attempts or attempts[-1].end is not None) else lane.outcome
    if outcome == "queued" and attempts:
        outcome = "retrying"
    times = f"{len(attempts)} attempts, " if len(attempts) > 1 else ""
    aside = f"{times}{_took(drawn, lane)}"
    row = Row("step", label, name, outcome, aside, f"Step {label}, {outcome}: {aside}")
    row.attempts = [
        Attempt(
            str(stroke.attempt or index),
            stroke.start,
            format_age(stroke.start, stroke.end or drawn.now),
            stroke.outcome,
            drawn.workers.get(stroke.worker, stroke.worker[:13]),
            _sentence(stroke),
        )
        for index, stroke in enumerate(attempts, 1)
    ]
    step = drawn.steps.get(lane.correlation_id)
    row.facts.append(("Step", name))
    if step is not None:
        row.facts.append(("Id", step.pk))
        row.facts.append(("Queue", step.queue))
        if step.losses:
            row.facts.append(("Workers lost", str(step.losses)))
    return row


def _sentence(stroke: Stroke) -> str:
    found = failure(stroke.error)
    return one_line(found.sentence, 400) if found is not None else ""


def _wait_row(drawn: Timeline, lane: Lane) -> Row:
    wait = drawn.waits.get(lane.correlation_id)
    outcome = "sleeping" if lane.end is None else lane.outcome
    woken = any(mark.kind == "woken" for mark in lane.marks)
    ended = "woken" if woken else {"completed": "over", "cancelled": "not waited out"}.get(outcome, outcome)
    aside = f"{_took(drawn, lane)}, {ended}" if lane.end else f"for {_took(drawn, lane)}"
    row = Row("wait", "sleep", lane.correlation_id, outcome, aside, f"Sleep, {outcome}: {aside}")
    if wait is not None:
        row.label = f"sleep {format_age(wait.created_at, wait.due_at)}"
        row.facts.append(("Due", format_time(wait.due_at, drawn.now)))
        row.facts.append(("Id", wait.pk))
    return row


def _hook_row(drawn: Timeline, lane: Lane) -> Row:
    hook = drawn.hooks.get(lane.correlation_id)
    token = hook.token if hook is not None else str(lane.facts.get("token") or "")
    is_webhook = hook is not None and hook.is_webhook
    what = "webhook" if is_webhook else "hook"
    label = f"{what} {mask_token(token, is_webhook)}"
    deliveries = sum(mark.kind == "delivery" for mark in lane.marks)
    conflict = any(mark.kind == "conflict" for mark in lane.marks)
    outcome = "conflict" if conflict else "open" if lane.end is None else "closed"
    count = f"{deliveries or 'no'} deliver{'ies' if deliveries > 1 else 'y'}"
    aside = "another run has the token" if conflict else f"{count}, {_took(drawn, lane)}"
    row = Row("hook", label, label, outcome, aside, f"{label}, {outcome}: {aside}")
    if hook is not None:
        row.facts.append(("Id", hook.pk))
    for number, mark in enumerate((m for m in lane.marks if m.kind == "delivery"), 1):
        if number > _SLOWEST:
            row.facts.append(("…", f"{deliveries - _SLOWEST} more deliveries are in the log"))
            break
        when = (
            f"+{format_age(drawn.scale.start, mark.at)}, at {format_time(mark.at, drawn.now)} (event {mark.sequence})"
        )
        row.facts.append((f"Delivery {number}", when))
    return row


def _child_row(drawn: Timeline, lane: Lane) -> Row:
    child = drawn.children.get(lane.correlation_id)
    name = _name(drawn, lane)
    label = f"child {short_name(name)}"
    aside = _took(drawn, lane)
    row = Row("child", label, name, lane.outcome, aside, f"{label}, {lane.outcome}: {aside}")
    row.facts.append(("Workflow", name))
    if child is not None:
        row.child = child.pk
    return row


_ROWS: dict[str, Callable[[Timeline, Lane], Row]] = {
    "step": _step_row,
    "wait": _wait_row,
    "hook": _hook_row,
    "child": _child_row,
}


def _run_row(drawn: Timeline) -> Row:
    lane = drawn.run
    aside = _took(drawn, lane)
    row = Row("run", "the run", "", lane.outcome, aside, f"The run, {lane.outcome}: {aside}")
    row.bars = [_bar(drawn, row.label, stroke) for stroke in lane.strokes]
    if not lane.strokes:
        row.bars = [_bar(drawn, row.label, Stroke("run", lane.start, lane.end))]
    row.dots = [_dot(drawn, row.label, mark) for mark in lane.marks]
    row.facts = [("Began", format_time(lane.start, drawn.now))]
    if lane.end is not None:
        row.facts.append(("Ended", f"{format_time(lane.end, drawn.now)}, {lane.outcome}"))
    row.facts += [(mark.text, format_time(mark.at, drawn.now)) for mark in lane.marks]
    row.is_open = lane.end is None
    return row


# --- strokes ---------------------------------------------------------------------------------------------------------

_STROKES = {
    "queued": "waits for a worker",
    "backoff": "waits for its retry",
    "sleep": "sleeps",
    "hook": "takes payloads",
    "child": "runs",
    "run": "runs",
}
_TOPS = {"attempt": 5, "queued": 11, "backoff": 11, "sleep": 8, "hook": 9, "child": 6, "run": 7}


def _bar(drawn: Timeline, label: str, stroke: Stroke) -> Bar:
    scale, end = drawn.scale, stroke.end or drawn.now
    left, right = scale.percent(stroke.start), scale.percent(end)
    took = format_age(stroke.start, end)
    if stroke.kind == "attempt":
        worker = drawn.workers.get(stroke.worker, "")
        error = _sentence(stroke)
        title = f"{label}, attempt {stroke.attempt}: {stroke.outcome} after {took}"
        title += (f" on {worker}" if worker else "") + (f" — {error}" if error else "")
    else:
        title = f"{label} {_STROKES[stroke.kind]}: {took}"
    failed = stroke.kind == "attempt" and stroke.outcome in ("failed", "lost") and right - left >= _CROSS
    look = f"wf-{stroke.kind} wf-is-{stroke.outcome}"
    y = _TOPS[stroke.kind]
    return Bar(percent(left), percent(max(right - left, 0.0)), percent(right), look, title, failed, y, 24 - 2 * y)


def _dot(drawn: Timeline, label: str, mark: Mark) -> Dot:
    at = format_time(mark.at, drawn.now)
    return Dot(drawn.scale.x(mark.at), mark.kind, f"{label}: {mark.text.lower()} at {at}")


# --- groups ----------------------------------------------------------------------------------------------------------


def _group_row(drawn: Timeline, lanes: list[Lane]) -> Row:
    sample = _ROWS[lanes[0].kind](drawn, lanes[0])
    what = short_name(sample.full) if lanes[0].kind in ("step", "child") else sample.kind
    counts: dict[str, int] = defaultdict(int)
    for lane in lanes:
        counts[lane.outcome] += 1
    words = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(counts.items()))
    outcome = "failed" if counts["failed"] else "running" if counts["running"] else "completed"
    label = f"{what} \N{MULTIPLICATION SIGN} {len(lanes):,}"
    row = Row(lanes[0].kind, label, sample.full, outcome, words, f"{label}: {words}", members=len(lanes))
    times = sorted((lane.end or drawn.now) - lane.start for lane in lanes)
    row.facts = [
        ("How many", words),
        ("Fastest", humanize(times[0])),
        ("Median", humanize(times[len(times) // 2])),
        ("Slowest", humanize(times[-1])),
        ("Attempts", f"{sum(len(lane.attempts) for lane in lanes):,}"),
        ("Log", f"{lanes[0].correlation_id} … {lanes[-1].correlation_id}"),
    ]
    row.bars = list(_merged(drawn, lanes, f"wf-attempt wf-is-many wf-is-{outcome}", f"{label}: {words}"))
    return row


def _merged(drawn: Timeline, lanes: Iterable[Lane], look: str, title: str) -> Iterable[Bar]:
    """The strokes of many lanes at the resolution of the screen."""
    bins = [False] * (_BINS + 1)
    for lane in lanes:
        for stroke in lane.attempts or lane.strokes:
            first = int(drawn.scale.percent(stroke.start) / 100 * _BINS)
            last = int(drawn.scale.percent(stroke.end or drawn.now) / 100 * _BINS)
            bins[first : last + 1] = [True] * (last + 1 - first)
    begin: int | None = None
    for place, filled in enumerate([*bins, False]):
        if filled and begin is None:
            begin = place
        elif not filled and begin is not None:
            left, right = begin * 100 / _BINS, min(place * 100 / _BINS, 100.0)
            yield Bar(percent(left), percent(right - left), percent(right), look, title)
            begin = None
