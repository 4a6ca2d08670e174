"""From a log to lanes: one lane per step, wait, hook and child, with a stroke for each attempt, pause and delivery.

Works on plain facts in log order, so that it can be read and tested without a database.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..eventlog.events import CHILD_TERMINALS, RUN_TERMINALS

#: stroke kinds: attempt (something ran), queued, backoff, sleep, hook, child, run
_OUTCOMES = {
    "step_completed": "completed",
    "step_failed": "failed",
    "step_retrying": "failed",
    "step_cancelled": "cancelled",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """An event without its payload. ``data``: the few plain fields that a drawing needs, {} for the rest."""

    sequence: int
    type: str
    correlation_id: str
    at: datetime
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Stroke:
    kind: str
    start: datetime
    end: datetime | None = None
    #: completed, failed, lost, cancelled or running
    outcome: str = "running"
    attempt: int = 0
    worker: str = ""
    error: Any = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at one moment. ``kind``: delivery, conflict, woken, cancel, timeout, retried."""

    kind: str
    at: datetime
    sequence: int


@dataclass(slots=True)
class Lane:
    kind: str
    correlation_id: str
    start: datetime
    sequence: int
    end: datetime | None = None
    outcome: str = "running"
    strokes: list[Stroke] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    #: what the event of its creation says: name, token, due_at, child
    facts: dict[str, Any] = field(default_factory=dict)
    #: ended only because the run did: ``retry_run`` opens it again
    implied: bool = False

    @property
    def attempts(self) -> list[Stroke]:
        return [stroke for stroke in self.strokes if stroke.kind == "attempt"]

    def open(self) -> Stroke | None:
        last = self.strokes[-1] if self.strokes else None
        return last if last is not None and last.end is None else None

    def close(self, at: datetime, outcome: str) -> None:
        stroke = self.open()
        if stroke is not None:
            stroke.end, stroke.outcome = at, outcome

    def finish(self, at: datetime, outcome: str) -> None:
        self.close(at, outcome)
        self.end, self.outcome = at, outcome


_KINDS = {"step": "step", "wait": "wait", "hook": "hook", "child": "child"}


def draw_lanes(facts: Iterable[Fact]) -> tuple[Lane, list[Lane]]:
    """The run's own lane and those of its entities, in the order in which they appear. There is at least one fact."""
    rest = iter(facts)
    first = next(rest)
    run = Lane("run", "", first.at, first.sequence)
    lanes: dict[str, Lane] = {}
    _of_run(run, first)
    _apply(run, lanes, first)
    for fact in rest:
        _of_run(run, fact)
        _apply(run, lanes, fact)
    return run, list(lanes.values())


def _apply(run: Lane, lanes: dict[str, Lane], fact: Fact) -> None:
    kind = _KINDS.get(fact.type.partition("_")[0])
    if kind is not None and fact.correlation_id:
        lane = lanes.get(fact.correlation_id)
        if lane is None:  # its creation may lie before the part of the log that is drawn
            lane = lanes[fact.correlation_id] = Lane(kind, fact.correlation_id, fact.at, fact.sequence)
        _DRAW[kind](lane, fact)
    elif fact.type in RUN_TERMINALS:
        for lane in lanes.values():
            _run_ended(lane, fact.at)
    elif fact.type == "run_retried":
        for lane in lanes.values():
            _run_retried(lane, fact.at)


def _run_ended(lane: Lane, at: datetime) -> None:
    """What the terminal event implies: waits and pending steps are cancelled, hooks disposed. Running steps go on."""
    if lane.end is not None:
        return
    stroke = lane.open()
    if lane.kind == "step" and stroke is not None and stroke.kind == "attempt":
        return
    lane.finish(at, "completed" if lane.kind == "hook" else "cancelled")
    lane.implied = True


def _run_retried(lane: Lane, at: datetime) -> None:
    if lane.implied:
        kind = lane.strokes[-1].kind if lane.strokes else lane.kind
        lane.strokes.append(Stroke(kind, at))
        lane.end, lane.outcome, lane.implied = None, "running", False


def _of_run(run: Lane, fact: Fact) -> None:
    if fact.type == "run_created":
        run.strokes.append(Stroke("queued", fact.at))
    elif fact.type in ("run_started", "run_retried"):
        run.close(fact.at, "completed")
        run.strokes.append(Stroke("run", fact.at, worker=fact.data.get("worker") or ""))
        run.end, run.outcome = None, "running"
    elif fact.type in RUN_TERMINALS:
        if not run.strokes:
            run.strokes.append(Stroke("run", run.start))
        run.finish(fact.at, fact.type.removeprefix("run_"))
    mark = {"run_cancel_requested": "cancel", "run_timed_out": "timeout", "run_retried": "retried"}.get(fact.type)
    if mark is not None:
        run.marks.append(Mark(mark, fact.at, fact.sequence))


def _step(lane: Lane, fact: Fact) -> None:
    if fact.type == "step_created":
        lane.facts.update(fact.data)
        lane.strokes.append(Stroke("queued", fact.at))
    elif fact.type == "step_started":
        lane.close(fact.at, "completed")
        attempt, worker = int(fact.data.get("attempt") or 0), fact.data.get("worker") or ""
        lane.strokes.append(Stroke("attempt", fact.at, attempt=attempt, worker=worker))
        lane.end, lane.outcome = None, "running"
    elif fact.type in _OUTCOMES:
        outcome = "lost" if fact.data.get("lost") else _OUTCOMES[fact.type]
        stroke = lane.open()
        if stroke is not None:
            stroke.error = fact.data.get("error")
        if fact.type == "step_retrying":
            lane.close(fact.at, outcome)
            lane.strokes.append(Stroke("backoff", fact.at))
        else:
            lane.finish(fact.at, outcome)


def _wait(lane: Lane, fact: Fact) -> None:
    if fact.type == "wait_created":
        lane.facts.update(fact.data)
        lane.strokes.append(Stroke("sleep", fact.at))
        return
    lane.finish(fact.at, fact.type.removeprefix("wait_"))
    if fact.data.get("woken"):
        lane.marks.append(Mark("woken", fact.at, fact.sequence))


def _hook(lane: Lane, fact: Fact) -> None:
    if fact.type == "hook_created":
        lane.facts.update(fact.data)
        lane.strokes.append(Stroke("hook", fact.at))
    elif fact.type == "hook_conflict":
        lane.facts.update(fact.data)
        lane.marks.append(Mark("conflict", fact.at, fact.sequence))
        lane.finish(fact.at, "failed")
    elif fact.type == "hook_received":
        lane.marks.append(Mark("delivery", fact.at, fact.sequence))
    else:
        lane.finish(fact.at, "completed")


def _child(lane: Lane, fact: Fact) -> None:
    if fact.type == "child_started":
        lane.facts.update(fact.data)
        lane.strokes.append(Stroke("child", fact.at))
    elif fact.type in CHILD_TERMINALS:
        cancelled = "cancelled" if fact.data.get("cancelled") else "failed"
        lane.finish(fact.at, "completed" if fact.type == "child_completed" else cancelled)


_DRAW = {"step": _step, "wait": _wait, "hook": _hook, "child": _child}
