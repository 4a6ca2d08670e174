"""Rule 6: the tables are the fold of the log, by a fold of the judge's own, on purpose: sharing the writers' would share
their mistakes.

``fold`` computes from the events alone what the rows must say; the checks below compare. What the log does not tell
(ids, counts of losses, due times of housekeeping) is not compared, and of a run that was retried only the states are:
a retry resets times and errors of what it reopens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..eventlog import events
from ..eventlog.events import Record
from ..exceptions import RunCancelledError
from ..serialization import canonical, dumps
from ..serialization.display import represent
from ..values.text import truncate
from .violation import LoggedEvent, Subject, Violation

_RUN_STATUS = {
    events.RunCompleted.type: "completed",
    events.RunFailed.type: "failed",
    events.RunCancelled.type: "cancelled",
}
_OPEN = {"step": ("pending",), "wait": ("waiting",), "hook": ("active",)}
_CLOSED = {"step": "cancelled", "wait": "cancelled", "hook": "disposed"}


@dataclass(slots=True)
class Entity:
    """What the log says of a step, a wait or a hook. ``state`` is its status; of a hook ``active`` or ``disposed``."""

    kind: str
    state: str
    created: Record
    closed_by: int | None = None
    closed_at: datetime | None = None
    #: other columns, by name
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Folded:
    """The run's columns by name, and its entities by correlation id."""

    run: dict[str, Any]
    entities: dict[str, Entity] = field(default_factory=dict)
    #: sequence of the last terminal event
    ended_by: int | None = None


def fold(log: Sequence[LoggedEvent]) -> Folded:
    """What the tables must say after these events."""
    folded = Folded(
        {
            "status": "pending",
            "output": None,
            "error": None,
            "error_code": "",
            "attributes": {},
            "started_at": None,
            "completed_at": None,
            "cancel_requested_at": None,
            "timed_out_at": None,
            "life": 0,
        }
    )
    for index, event in enumerate(log):
        if event.type == events.RunRetried.type:
            _retry(folded, event)
            folded.run["attributes"] = _attributes(log[:index], event.skipped)
        elif event.type.startswith("run_") or event.type == events.AttributesSet.type:
            _fold_run(folded, event.record)
        elif event.type in _CREATE:
            kind, state = _CREATE[event.type]
            columns = _created_columns(event.record)
            folded.entities[event.record.correlation_id] = Entity(kind, state, event.record, columns=columns)
        elif event.record.correlation_id in folded.entities:
            _fold_entity(folded.entities[event.record.correlation_id], event.record)
    return folded


def _attributes(log: Sequence[LoggedEvent], skipped: frozenset[int]) -> dict[str, str]:
    """As they are without what this retry and those before it left out."""
    left_out = skipped.union(*(event.skipped for event in log if event.type == events.RunRetried.type))
    found: dict[str, str | None] = {}
    for event in log:
        if event.type in (events.RunCreated.type, events.AttributesSet.type) and event.sequence not in left_out:
            found.update(event.record.payload["attributes"] or {})
    return {key: value for key, value in found.items() if value is not None}


_CREATE = {
    events.StepCreated.type: ("step", "pending"),
    events.WaitCreated.type: ("wait", "waiting"),
    events.HookCreated.type: ("hook", "active"),
}


def _created_columns(record: Record) -> dict[str, Any]:
    payload = record.payload
    if record.type == events.StepCreated.type:
        return {
            "name": payload["name"],
            "queue": payload["queue"],
            "input": {"args": payload["args"], "kwargs": payload["kwargs"]},
            "attempt": 0,
            "output": None,
            "worker_id": None,
            "started_at": None,
            "available_at": record.created_at,
        }
    if record.type == events.WaitCreated.type:
        return {"due_at": payload["due_at"]}
    return {name: payload[name] for name in ("token", "is_webhook", "metadata")}


def _fold_run(folded: Folded, record: Record) -> None:
    run, payload, at = folded.run, record.payload, record.created_at
    match record.type:
        case events.RunCreated.type:
            run.update({name: payload[name] for name in ("workflow", "queue", "priority", "idempotency_key")})
            run["input"] = {"args": payload["args"], "kwargs": payload["kwargs"]}
            run["attributes"] = dict(payload["attributes"] or {})
            run["created_at"] = at
        case events.RunStarted.type:
            run.update(status="running", started_at=at)
        case events.RunCancelRequested.type:
            run["cancel_requested_at"] = run["cancel_requested_at"] or at
        case events.RunTimedOut.type:
            run["timed_out_at"] = at
        case events.AttributesSet.type:
            merged = {**run["attributes"], **payload["attributes"]}
            run["attributes"] = {key: value for key, value in merged.items() if value is not None}
        case _:
            folded.ended_by = record.sequence
            run.update(status=_RUN_STATUS[record.type], completed_at=at)
            run.update(output=payload.get("output"), error=payload.get("error"))
            cancelled = RunCancelledError.code if record.type == events.RunCancelled.type else ""
            run["error_code"] = payload.get("error_code", cancelled)
            for entity in folded.entities.values():
                if entity.state in _OPEN[entity.kind]:
                    _close(entity, _CLOSED[entity.kind], record)


def _fold_entity(entity: Entity, record: Record) -> None:
    payload, columns = record.payload, entity.columns
    match record.type:
        case events.StepStarted.type:
            entity.state = "running"
            columns.update(attempt=payload["attempt"], worker_id=payload["worker"])
            columns["started_at"] = columns["started_at"] or record.created_at
        case events.StepRetrying.type:
            entity.state = "pending"
            columns.update(worker_id=None, available_at=payload["retry_at"] or record.created_at)
        case events.StepCompleted.type:
            columns["output"] = payload["output"]
            _close(entity, "completed", record)
        case events.StepFailed.type:
            columns["error"] = payload["error"]
            _close(entity, "failed", record)
        case events.WaitCompleted.type:
            _close(entity, "completed", record)
        case events.StepCancelled.type | events.WaitCancelled.type:
            _close(entity, "cancelled", record)
        case events.HookDisposed.type:
            _close(entity, "disposed", record)


def _close(entity: Entity, state: str, record: Record) -> None:
    entity.state, entity.closed_by, entity.closed_at = state, record.sequence, record.created_at


def _retry(folded: Folded, event: LoggedEvent) -> None:
    """A new life: what the last end or a decision that holds no more had closed is open again."""
    skipped = event.skipped
    status = "pending" if folded.run["started_at"] is None else "running"
    folded.run.update(status=status, output=None, error=None, error_code="", completed_at=None, timed_out_at=None)
    folded.run["life"] += 1
    for entity in folded.entities.values():
        if entity.created.sequence in skipped and entity.closed_by is None:
            _close(entity, _CLOSED[entity.kind], event.record)  # a step that still ran: its result is no longer wanted
        if entity.created.sequence in skipped or entity.closed_by is None:
            continue
        if entity.closed_by in skipped or entity.closed_by == folded.ended_by:
            entity.state = _OPEN[entity.kind][0]
            entity.closed_by = entity.closed_at = None


# --- comparing -------------------------------------------------------------------------------------------------------


def check_run(subject: Subject) -> Iterator[Violation]:
    """The run's row says what its log says."""
    expected = fold(subject.events).run
    names = ("status", "life", "attributes", "error_code") if subject.was_retried else tuple(expected)
    if subject.run.forked_from:  # its log begins with a copy, at the original's time
        names = tuple(name for name in names if name != "created_at")
    for name in names:
        found = getattr(subject.run, name)
        if not same(expected[name], found):
            yield subject.violation(6, f"the run's {name} is {_short(found)}, its log says {_short(expected[name])}")


def check_entities(subject: Subject) -> Iterator[Violation]:
    """There is a row for each entity of the log and no other, and it says what the log says."""
    expected = fold(subject.events).entities
    for kind, rows in (("step", subject.steps), ("wait", subject.waits), ("hook", subject.hooks)):
        found = {row.correlation_id: row for row in rows}
        wanted = {entity_id for entity_id, entity in expected.items() if entity.kind == kind}
        for entity_id in sorted(wanted - set(found)):
            yield subject.violation(6, f"{entity_id} is in the log and has no row")
        for entity_id in sorted(set(found) - wanted):
            yield subject.violation(6, f"{entity_id} has a row and is not in the log")
        for entity_id in sorted(wanted & set(found)):
            yield from _compare(subject, entity_id, expected[entity_id], found[entity_id])


def _compare(subject: Subject, entity_id: str, entity: Entity, row: Any) -> Iterator[Violation]:
    for name, wanted, found in _pairs(entity, row, times=not subject.was_retried):
        if not same(wanted, found):
            yield subject.violation(6, f"{entity_id}: {name} is {_short(found)}, the log says {_short(wanted)}")


def _pairs(entity: Entity, row: Any, *, times: bool) -> Iterator[tuple[str, Any, Any]]:
    closed_at = row.disposed_at if entity.kind == "hook" else row.completed_at
    if entity.kind == "hook":
        yield "state", entity.state, "active" if closed_at is None else "disposed"
    else:
        yield "status", entity.state, row.status
    columns = dict(entity.columns)
    if not times:
        columns = {name: columns[name] for name in ("name", "input", "due_at", "token") if name in columns}
    elif entity.kind == "step" and entity.state != "pending":
        del columns["available_at"]  # of the attempt before, by now
    for name, wanted in columns.items():
        yield name, wanted, getattr(row, name)
    if times and entity.kind == "hook":  # its creation takes its time after the token was won, its row before
        yield "disposed_at", entity.closed_at, closed_at
    elif times:
        yield "created_at", entity.created.created_at, row.created_at
        yield "completed_at", entity.closed_at, closed_at


def same(expected: Any, found: Any) -> bool:
    """Equal values, or values that encode alike (NaN, and classes that define no equality)."""
    if expected is found or (type(expected) is type(found) and expected == found):
        return True
    return canonical(dumps(expected)) == canonical(dumps(found))


def _short(value: Any) -> str:
    return truncate(value.isoformat() if isinstance(value, datetime) else represent(value), 80)


RULES = (check_run, check_entities)
