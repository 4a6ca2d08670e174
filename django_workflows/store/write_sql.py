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
from operator import attrgetter
from typing import Any

from ..exceptions import FenceConflictError
from ..serialization import dumps
from ..serialization.encryption import encrypt
from . import database
from .database import Execute
from .transition import Transition

_Column = tuple[str, str, Callable[[Any], Any]]


def _encrypted(name: str) -> Callable[[Any], Any]:
    def read(row: Any) -> Any:
        value = getattr(row, name)
        return None if value is None else encrypt(value)

    return read


def _columns(types: dict[str, str], encrypted: frozenset[str] = frozenset()) -> list[_Column]:
    return [(name, type, _encrypted(name) if name in encrypted else attrgetter(name)) for name, type in types.items()]


_PAYLOADS = frozenset({"input", "output", "error"})
_HEAD_CHANGES = _columns({"last_sequence": "int", "last_event_at": "timestamptz", "wake_at": "timestamptz"})
_ALL_CHANGES = [
    *_HEAD_CHANGES,
    *_columns(
        {
            "status": "text",
            "output": "text",
            "error": "text",
            "error_code": "text",
            "code_version": "text",
            "started_at": "timestamptz",
            "completed_at": "timestamptz",
            "deadline_at": "timestamptz",
            "cancel_requested_at": "timestamptz",
            "timed_out_at": "timestamptz",
            "expires_at": "timestamptz",
            "life": "int",
            "blocked_reason": "text",
            "blocked_until": "timestamptz",
            "blocked_count": "int",
            "blocked_version": "text",
        },
        _PAYLOADS,
    ),
    ("attributes", "jsonb", lambda run: str(dumps(run.attributes))),
]
_STEP_CHANGES = {
    "status": "text",
    "output": "text",
    "error": "text",
    "attempt": "int",
    "failures": "int",
    "losses": "int",
    "available_at": "timestamptz",
    "worker_id": "text",
    "started_at": "timestamptz",
    "completed_at": "timestamptz",
}
_NEW_STEP = _columns(
    {
        "id": "text",
        "run_id": "text",
        "correlation_id": "text",
        "name": "text",
        "input": "text",
        "queue": "text",
        "priority": "int",
        "created_at": "timestamptz",
        **_STEP_CHANGES,
    },
    _PAYLOADS,
)
_CHANGED_STEP = _columns({"id": "text", "run_id": "text", **_STEP_CHANGES}, _PAYLOADS)
_NEW_WAIT = _columns(
    {
        "id": "text",
        "run_id": "text",
        "correlation_id": "text",
        "status": "text",
        "due_at": "timestamptz",
        "created_at": "timestamptz",
        "completed_at": "timestamptz",
    }
)
_CHANGED_WAIT = _columns({"id": "text", "run_id": "text", "status": "text", "completed_at": "timestamptz"})


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
    values += [list(map(read, runs)) for _, _, read in (_ALL_CHANGES if run_changed else _HEAD_CHANGES)]
    values += _event_values(transitions, keyed)
    for rows, columns in (
        (new_steps, _NEW_STEP),
        (changed_steps, _CHANGED_STEP),
        (new_waits, _NEW_WAIT),
        (changed_waits, _CHANGED_WAIT),
    ):
        if rows:
            values += [list(map(read, rows)) for _, _, read in columns]
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
    parts = [_update_runs(_ALL_CHANGES if run_changed else _HEAD_CHANGES)]
    if events:
        types = {
            "run_id": "text",
            "sequence": "int",
            "type": "text",
            "correlation_id": "text",
            "data": "text",
            "life": "int",
            "created_at": "timestamptz",
        }
        parts.append(_insert("event", _columns({**types, "idempotency_key": "text"} if keyed else types)))
    if new_steps:
        parts.append(_insert("step", _NEW_STEP))
    if changed_steps:
        parts.append(_update("step", _CHANGED_STEP))
    if new_waits:
        parts.append(_insert("wait", _NEW_WAIT))
    if changed_waits:
        parts.append(_update("wait", _CHANGED_WAIT))
    return "WITH " + ",\n".join(parts) + "\nSELECT id FROM run"


def _given(columns: Sequence[_Column]) -> str:
    arrays = ", ".join(f"%s::{'text' if type == 'jsonb' else type}[]" for _, type, _ in columns)
    names = ", ".join(name for name, _, _ in columns)
    return f"unnest({arrays}) AS given({names})"


def _update_runs(columns: Sequence[_Column]) -> str:
    changes = ", ".join(f"{name} = given.{name}{'::jsonb' if type == 'jsonb' else ''}" for name, type, _ in columns)
    arrays = ", ".join(f"%s::{'text' if type == 'jsonb' else type}[]" for _, type, _ in columns)
    names = ", ".join(name for name, _, _ in columns)
    return (
        f"run AS (UPDATE django_workflows_run r SET {changes} "
        f"FROM unnest(%s::text[], %s::int[], %s::timestamptz[], {arrays}) "
        f"AS given(run_id, expected, expected_at, {names}) WHERE r.id = given.run_id "
        "AND r.last_sequence = given.expected AND r.last_event_at = given.expected_at RETURNING r.id)"
    )


def _insert(table: str, columns: Sequence[_Column]) -> str:
    names = ", ".join(name for name, _, _ in columns)
    given = ", ".join(f"given.{name}" for name, _, _ in columns)
    return (
        f"new_{table} AS (INSERT INTO django_workflows_{table} ({names}) "
        f"SELECT {given} FROM {_given(columns)} JOIN run ON run.id = given.run_id)"
    )


def _update(table: str, columns: Sequence[_Column]) -> str:
    changes = ", ".join(f"{name} = given.{name}" for name, _, _ in columns if name not in ("id", "run_id"))
    return (
        f"changed_{table} AS (UPDATE django_workflows_{table} t SET {changes} "
        f"FROM {_given(columns)} JOIN run ON run.id = given.run_id WHERE t.id = given.id)"
    )


# --- one run -----------------------------------------------------------------------------------------------------------

#: rows of one kind up to which one run's transition is written with a value per parameter; above, arrays are cheaper
_FEW = 4
_EVENT = {
    "sequence": "int",
    "type": "text",
    "correlation_id": "text",
    "data": "text",
    "life": "int",
    "created_at": "timestamptz",
}
#: what a step has that was created in this transition and has not ended in it
_BEGUN = (
    "id",
    "correlation_id",
    "name",
    "input",
    "queue",
    "priority",
    "created_at",
    "status",
    "attempt",
    "failures",
    "losses",
    "available_at",
    "worker_id",
    "started_at",
)
_BEGUN_STEP = [column for column in _NEW_STEP if column[0] in _BEGUN]
_SHORT_CHANGED_STEP = [column for column in _CHANGED_STEP if column[0] not in ("id", "run_id")] + [_CHANGED_STEP[0]]
_SHORT_NEW_WAIT = [column for column in _NEW_WAIT if column[0] != "run_id"]
_SHORT_CHANGED_WAIT = [column for column in _CHANGED_WAIT if column[0] not in ("id", "run_id")] + [_CHANGED_WAIT[0]]


_ONE_COLUMNS = (_BEGUN_STEP, _SHORT_CHANGED_STEP, _SHORT_NEW_WAIT, _SHORT_CHANGED_WAIT)


def _one(t: Transition) -> tuple[str, list[Any]] | None:
    """The commonest batch, one run with a few rows, without arrays: half the server's work. None: not such a one."""
    kinds: tuple[Mapping[str, Any], ...] = (t.new_steps, t.changed_steps, t.new_waits, t.changed_waits)
    if len(t.events) > 2 * _FEW or any(len(rows) > _FEW for rows in kinds):
        return None
    if any(step.completed_at is not None for step in t.new_steps.values()):
        return None
    if any(row.idempotency_key is not None for row in t.events):
        return None
    run = t.run
    values = [read(run) for _, _, read in (_ALL_CHANGES if t.run_changed else _HEAD_CHANGES)]
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
    for rows, columns in zip(kinds, _ONE_COLUMNS, strict=True):
        values += [read(row) for row in rows.values() for _, _, read in columns]
    return _one_statement(t.run_changed, len(t.events), *(len(rows) for rows in kinds)), values


@lru_cache(maxsize=512)
def _one_statement(
    run_changed: bool, events: int, new_steps: int, changed_steps: int, new_waits: int, changed_waits: int
) -> str:
    changes = ", ".join(f"{name} = %s::{type}" for name, type, _ in (_ALL_CHANGES if run_changed else _HEAD_CHANGES))
    fence = "id = %s AND last_sequence = %s::int AND last_event_at = %s::timestamptz"
    parts = [f"run AS (UPDATE django_workflows_run SET {changes} WHERE {fence} RETURNING id)"]
    for table, columns, count in (
        ("event", _columns(_EVENT), events),
        ("step", _BEGUN_STEP, new_steps),
    ):
        if count:
            parts.append(_insert_few(table, columns, count))
    parts += [_update_one("step", _SHORT_CHANGED_STEP, i) for i in range(changed_steps)]
    if new_waits:
        parts.append(_insert_few("wait", _SHORT_NEW_WAIT, new_waits))
    parts += [_update_one("wait", _SHORT_CHANGED_WAIT, i) for i in range(changed_waits)]
    return "WITH " + ",\n".join(parts) + "\nSELECT id FROM run"


def _insert_few(table: str, columns: Sequence[_Column], count: int) -> str:
    names = ", ".join(name for name, _, _ in columns)
    row = "(" + ", ".join(f"%s::{type}" for _, type, _ in columns) + ")"
    return (
        f"new_{table} AS (INSERT INTO django_workflows_{table} (run_id, {names}) "
        f"SELECT run.id, given.* FROM run, (VALUES {', '.join([row] * count)}) AS given)"
    )


def _update_one(table: str, columns: Sequence[_Column], number: int) -> str:
    changes = ", ".join(f"{name} = %s::{type}" for name, type, _ in columns if name != "id")
    return (
        f"changed_{table}_{number} AS (UPDATE django_workflows_{table} t SET {changes} "
        "FROM run WHERE t.id = %s AND t.run_id = run.id)"
    )
