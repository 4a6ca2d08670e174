"""Storing transitions on PostgreSQL: one statement for all of them.

Its first part is ``UPDATE run … WHERE last_sequence = expected``, and every other part joins the runs that this updated. A
run whose log has grown since it was read therefore gets nothing at all, without a lock having been taken before: the
fence is the proof that nothing came in between. Parts that a batch does not need are left out, so that there are few
distinct texts, which the server prepares once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from ..exceptions import FenceConflictError
from ..serialization.encryption import encrypt
from . import database
from .columns import Column, choose, columns, without
from .database import Execute
from .rows import RUN_HEAD, RUN_ORIGIN, STEP_END, STEP_ORIGIN, WAIT_ORIGIN, RunRow, StepRow, WaitRow
from .transition import Transition


class _Part(NamedTuple):
    """Columns that a statement writes: their SQL types by name, and what reads each one's parameter from a row."""

    types: dict[str, str]
    reads: tuple[Callable[[Any], Any], ...]


def _part(*chosen: Column) -> _Part:
    return _Part({column.name: column.sql for column in chosen}, tuple(column.read for column in chosen))


_KEY = ("id", "run_id")
_HEAD = choose(RunRow, *RUN_HEAD)
_HEAD_CHANGES = _part(*_HEAD)
_ALL_CHANGES = _part(*_HEAD, *without(RunRow, *RUN_ORIGIN, *RUN_HEAD))
_STEP_CHANGES, _WAIT_CHANGES = without(StepRow, *STEP_ORIGIN), without(WaitRow, *WAIT_ORIGIN)
_NEW_STEP, _CHANGED_STEP = _part(*columns(StepRow)), _part(*choose(StepRow, *_KEY), *_STEP_CHANGES)
_NEW_WAIT, _CHANGED_WAIT = _part(*columns(WaitRow)), _part(*choose(WaitRow, *_KEY), *_WAIT_CHANGES)
_EVENT = {
    "run_id": "text",
    "sequence": "int",
    "type": "text",
    "correlation_id": "text",
    "data": "text",
    "life": "int",
    "created_at": "timestamptz",
}


def write(transitions: Sequence[Transition], execute: Execute | None = None) -> None:
    """Store transitions of locked runs in the caller's transaction, through Django's own cursor unless told otherwise.

    Raises:
        FenceConflictError: a run's log has grown since it was read.
    """
    written = write_fenced(transitions, execute or database.execute)
    for transition in transitions:
        if transition.run.id not in written:
            raise FenceConflictError(transition.run.id, transition.expected_sequence)


def write_fenced(transitions: Sequence[Transition], execute: Execute) -> set[str]:
    """Store those transitions whose runs have not changed since they were read. Returns the ids of their runs."""
    return {row[0] for row in execute(*fenced_statement(transitions))}


def fenced_statement(transitions: Sequence[Transition]) -> tuple[str, list[Any]]:
    """The statement of :func:`write_fenced` and its values. It answers with a row for each run stored: its id."""
    if len(transitions) == 1 and (one := _one(transitions[0])) is not None:
        return one
    new_steps = list(chain.from_iterable(t.new_steps.values() for t in transitions))
    changed_steps = list(chain.from_iterable(t.changed_steps.values() for t in transitions))
    new_waits = list(chain.from_iterable(t.new_waits.values() for t in transitions))
    changed_waits = list(chain.from_iterable(t.changed_waits.values() for t in transitions))
    run_changed = any(t.run_changed for t in transitions)
    keyed = any(row.idempotency_key is not None for t in transitions for row in t.events)
    values: list[Any] = [
        [t.run.id for t in transitions],
        [t.expected_sequence for t in transitions],
        [t.expected_at for t in transitions],
    ]
    runs = [t.run for t in transitions]
    values += [list(map(read, runs)) for read in (_ALL_CHANGES if run_changed else _HEAD_CHANGES).reads]
    values += _event_values(transitions, keyed)
    for rows, part in (
        (new_steps, _NEW_STEP),
        (changed_steps, _CHANGED_STEP),
        (new_waits, _NEW_WAIT),
        (changed_waits, _CHANGED_WAIT),
    ):
        if rows:
            values += [list(map(read, rows)) for read in part.reads]
    has_events = any(t.events for t in transitions)
    text = _statement(
        run_changed, has_events, keyed, bool(new_steps), bool(changed_steps), bool(new_waits), bool(changed_waits)
    )
    return text, values


def _event_values(transitions: Sequence[Transition], keyed: bool) -> list[list[Any]]:
    owners = [t.run.id for t in transitions for _ in t.events]
    if not owners:
        return []
    rows = [row for t in transitions for row in t.events]
    records = [row.record for row in rows]
    values: list[list[Any]] = [
        owners,
        [record.sequence for record in records],
        [record.type for record in records],
        [record.correlation_id for record in records],
        [encrypt(record.data) for record in records],
        [row.life for row in rows],
        [record.created_at for record in records],
    ]
    if keyed:
        values.append([row.idempotency_key for row in rows])
    return values


@lru_cache(maxsize=256)
def _statement(
    run_changed: bool,
    events: bool,
    keyed: bool,
    new_steps: bool,
    changed_steps: bool,
    new_waits: bool,
    changed_waits: bool,
) -> str:
    parts = [_update_runs((_ALL_CHANGES if run_changed else _HEAD_CHANGES).types)]
    if events:
        parts.append(_insert("event", {**_EVENT, "idempotency_key": "text"} if keyed else _EVENT))
    if new_steps:
        parts.append(_insert("step", _NEW_STEP.types))
    if changed_steps:
        parts.append(_update("step", _CHANGED_STEP.types))
    if new_waits:
        parts.append(_insert("wait", _NEW_WAIT.types))
    if changed_waits:
        parts.append(_update("wait", _CHANGED_WAIT.types))
    return "WITH " + ",\n".join(parts) + "\nSELECT id FROM run"


def _arrays(types: Mapping[str, str]) -> str:
    # JSON is given as text: there are no arrays of jsonb in a form that every driver writes
    return ", ".join(f"%s::{'text' if type == 'jsonb' else type}[]" for type in types.values())


def _given(types: Mapping[str, str]) -> str:
    return f"unnest({_arrays(types)}) AS given({', '.join(types)})"


def _update_runs(types: Mapping[str, str]) -> str:
    changes = ", ".join(f"{name} = given.{name}{'::jsonb' if type == 'jsonb' else ''}" for name, type in types.items())
    return (
        f"run AS (UPDATE django_workflows_run r SET {changes} "
        f"FROM unnest(%s::text[], %s::int[], %s::timestamptz[], {_arrays(types)}) "
        f"AS given(run_id, expected, expected_at, {', '.join(types)}) WHERE r.id = given.run_id "
        "AND r.last_sequence = given.expected AND r.last_event_at = given.expected_at RETURNING r.id)"
    )


def _insert(table: str, types: Mapping[str, str]) -> str:
    given = ", ".join(f"given.{name}" for name in types)
    return (
        f"new_{table} AS (INSERT INTO django_workflows_{table} ({', '.join(types)}) "
        f"SELECT {given} FROM {_given(types)} JOIN run ON run.id = given.run_id)"
    )


def _update(table: str, types: Mapping[str, str]) -> str:
    changes = ", ".join(f"{name} = given.{name}" for name in types if name not in _KEY)
    return (
        f"changed_{table} AS (UPDATE django_workflows_{table} t SET {changes} "
        f"FROM {_given(types)} JOIN run ON run.id = given.run_id WHERE t.id = given.id)"
    )


# --- one run -----------------------------------------------------------------------------------------------------------

#: rows of one kind up to which one run's transition is written with a value per parameter; above, arrays are cheaper
_FEW = 4
#: a step that was created in this transition and has not ended in it, without its run, which the statement knows
_BEGUN_STEP = _part(*without(StepRow, "run_id", *STEP_END))
_ONE_CHANGED_STEP = _part(*_STEP_CHANGES, *choose(StepRow, "id"))
_ONE_NEW_WAIT = _part(*without(WaitRow, "run_id"))
_ONE_CHANGED_WAIT = _part(*_WAIT_CHANGES, *choose(WaitRow, "id"))
_ONE_EVENT = {name: type for name, type in _EVENT.items() if name != "run_id"}
_ONE_PARTS = (_BEGUN_STEP, _ONE_CHANGED_STEP, _ONE_NEW_WAIT, _ONE_CHANGED_WAIT)


def _one(t: Transition) -> tuple[str, list[Any]] | None:
    """The commonest batch, one run with a few rows, without arrays: half the server's work. None: not such a one."""
    kinds: tuple[Mapping[str, Any], ...] = (t.new_steps, t.changed_steps, t.new_waits, t.changed_waits)
    if len(t.events) > 2 * _FEW or any(len(rows) > _FEW for rows in kinds):
        return None
    if any(step.completed_at is not None or step.error is not None for step in t.new_steps.values()):
        return None
    if any(row.idempotency_key is not None for row in t.events):
        return None
    run = t.run
    values = [read(run) for read in (_ALL_CHANGES if t.run_changed else _HEAD_CHANGES).reads]
    values += [run.id, t.expected_sequence, t.expected_at]
    for row in t.events:
        record = row.record
        values += [
            record.sequence,
            record.type,
            record.correlation_id,
            encrypt(record.data),
            row.life,
            record.created_at,
        ]
    for rows, part in zip(kinds, _ONE_PARTS, strict=True):
        values += [read(row) for row in rows.values() for read in part.reads]
    return _one_statement(t.run_changed, len(t.events), *(len(rows) for rows in kinds)), values


@lru_cache(maxsize=512)
def _one_statement(
    run_changed: bool, events: int, new_steps: int, changed_steps: int, new_waits: int, changed_waits: int
) -> str:
    changes = _assignments((_ALL_CHANGES if run_changed else _HEAD_CHANGES).types)
    fence = "id = %s AND last_sequence = %s::int AND last_event_at = %s::timestamptz"
    parts = [f"run AS (UPDATE django_workflows_run SET {changes} WHERE {fence} RETURNING id)"]
    if events:
        parts.append(_insert_few("event", _ONE_EVENT, events))
    if new_steps:
        parts.append(_insert_few("step", _BEGUN_STEP.types, new_steps))
    parts += [_update_one("step", _ONE_CHANGED_STEP.types, i) for i in range(changed_steps)]
    if new_waits:
        parts.append(_insert_few("wait", _ONE_NEW_WAIT.types, new_waits))
    parts += [_update_one("wait", _ONE_CHANGED_WAIT.types, i) for i in range(changed_waits)]
    return "WITH " + ",\n".join(parts) + "\nSELECT id FROM run"


def _assignments(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = %s::{type}" for name, type in types.items())


def _insert_few(table: str, types: Mapping[str, str], count: int) -> str:
    row = "(" + ", ".join(f"%s::{type}" for type in types.values()) + ")"
    return (
        f"new_{table} AS (INSERT INTO django_workflows_{table} (run_id, {', '.join(types)}) "
        f"SELECT run.id, given.* FROM run, (VALUES {', '.join([row] * count)}) AS given)"
    )


def _update_one(table: str, types: Mapping[str, str], number: int) -> str:
    changes = _assignments({name: type for name, type in types.items() if name != "id"})
    return (
        f"changed_{table}_{number} AS (UPDATE django_workflows_{table} t SET {changes} "
        "FROM run WHERE t.id = %s AND t.run_id = run.id)"
    )
