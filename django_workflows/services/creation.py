"""Creating runs: the row and its ``run_created`` in one statement (PostgreSQL) or one bulk insert each (elsewhere)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from .. import conf
from ..eventlog import events
from ..eventlog.statuses import RunStatus
from ..exceptions import EntityConflictError, PayloadTooLargeError
from ..models import Event, Run
from ..serialization import Encoded, canonical, dumps
from ..serialization.encryption import encrypt
from ..store import database
from ..store.columns import choose, names
from ..store.transactions import atomic
from ..values.ids import run_id
from .idempotency import require_key_of
from .steps import split_input

_BATCH = 1000


@dataclass(slots=True, kw_only=True)
class NewRun:
    """What a run starts with. ``input`` is encoded ``{"args": […], "kwargs": {…}}``; delays are relative to the commit."""

    workflow: str
    input: Encoded
    queue: str
    priority: int = 0
    attributes: dict[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None
    run_after: timedelta | datetime | None = None
    timeout: timedelta | None = None
    parent_id: str | None = None
    parent_correlation_id: str = ""
    detached: bool = False
    forked_from: str = ""
    continued_from: str = ""
    scheduled_at: datetime | None = None
    context: Any = None
    #: to whom the idempotency key belongs; None: to the project's own code, which may use every key
    caller: str | None = None
    id: str = field(default_factory=run_id)
    seed: str = field(default_factory=lambda: secrets.token_hex(16))

    def created_event(self) -> events.RunCreated:
        """The first event of its log."""
        args, kwargs = split_input(self.input)
        return events.RunCreated(
            workflow=self.workflow,
            args=args,
            kwargs=kwargs,
            queue=self.queue,
            priority=self.priority,
            attributes=self.attributes,
            idempotency_key=self.idempotency_key,
            parent=self.parent_id,
            seed=self.seed,
            forked_from=self.forked_from or None,
            continued_from=self.continued_from or None,
            scheduled_at=self.scheduled_at,
            context=self.context,
            caller=None if self.idempotency_key is None else self.caller,
        )

    def wake_at(self, now: datetime) -> datetime:
        """When the run may begin, if it is created at ``now``."""
        if isinstance(self.run_after, timedelta):
            return now + self.run_after
        return max(now, self.run_after) if self.run_after is not None else now

    def deadline_at(self, now: datetime) -> datetime | None:
        """A timeout counts from the moment the run may begin."""
        return None if self.timeout is None else self.wake_at(now) + self.timeout


def _literal(default: Any) -> str:
    if isinstance(default, str):
        return f"'{default}'"
    assert isinstance(default, int), f"the SQL of the default {default!r}?"
    return str(default)


_RUN = {field.attname: field for field in Run._meta.concrete_fields}
#: columns that a new run brings along: fields of NewRun that are named like a column
_GIVEN = choose(NewRun, *(field.name for field in fields(NewRun) if field.name in _RUN))
#: columns that the statement computes, and those that begin with the model's default
_COMPUTED = {
    "status": f"'{RunStatus.PENDING.value}'",
    "created_at": "{now}",
    "wake_at": "{wake_at}",
    "deadline_at": "{deadline_at}",
    "last_sequence": "1",
    "last_event_at": "{now}",
}
_DEFAULTS = {
    name: _literal(field.get_default())
    for name, field in _RUN.items()
    if not field.null and name not in _COMPUTED and name not in names(NewRun)
}
_MADE = {**_COMPUTED, **_DEFAULTS}
_COLUMNS = ", ".join([*(column.name for column in _GIVEN), *_MADE])
_CASTS = ["::jsonb" if column.sql == "jsonb" else "" for column in _GIVEN]
_ON_CONFLICT = "ON CONFLICT (workflow, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING"

#: one run, a value per parameter. Short: it is parsed and planned anew at each start.
_INSERT_ONE = f"""
WITH run AS (
    INSERT INTO django_workflows_run ({_COLUMNS})
    VALUES ({", ".join(["%s" + cast for cast in _CASTS] + list(_MADE.values()))})
    {_ON_CONFLICT}
    RETURNING id, created_at
)
INSERT INTO django_workflows_event (run_id, sequence, type, correlation_id, data, life, created_at)
SELECT id, 1, '{events.RunCreated.type}', '', %s, 0, created_at FROM run
RETURNING run_id{{notify}}
"""

#: what lies beside the columns of a run when several are created by one statement
_BESIDE = {"delay": "interval", "not_before": "timestamptz", "timeout": "interval", "data": "text"}
_ARRAYS = [*("text" if column.sql == "jsonb" else column.sql for column in _GIVEN), *_BESIDE.values()]
_WAKE_AT = "GREATEST(now + delay, not_before)"
_VALUES = ", ".join([*(column.name + cast for column, cast in zip(_GIVEN, _CASTS, strict=True)), *_MADE.values()])

#: several runs, an array per column
_INSERT_MANY = f"""
WITH clock AS (SELECT {{now}} AS now), new AS (
    SELECT * FROM unnest({", ".join(f"%s::{type}[]" for type in _ARRAYS)})
    AS t({", ".join([*(column.name for column in _GIVEN), *_BESIDE])})
), run AS (
    INSERT INTO django_workflows_run ({_COLUMNS})
    SELECT {_VALUES.format(now="now", wake_at=_WAKE_AT, deadline_at=f"{_WAKE_AT} + timeout")} FROM new, clock
    {_ON_CONFLICT}
    RETURNING id
), event AS (
    INSERT INTO django_workflows_event (run_id, sequence, type, correlation_id, data, life, created_at)
    SELECT run.id, 1, '{events.RunCreated.type}', '', new.data, 0, clock.now FROM run JOIN new USING (id), clock
)
SELECT run.id{{notify}} FROM run
"""


def create_runs(runs: Sequence[NewRun], *, notify: bool = False) -> list[str]:
    """Insert the runs and their ``run_created`` events, all or nothing; join the caller's transaction if there is one.

    Returns the runs' ids in order. With an idempotency key that is taken it is the id of the run that has it, provided
    that its arguments are equal.

    Raises:
        EntityConflictError: another run of the workflow has the idempotency key, with other arguments.
        PayloadTooLargeError: the input of one of them is larger than ``MAX_PAYLOAD_BYTES``.
    """
    limit = conf.settings.MAX_PAYLOAD_BYTES
    for run in runs:
        if len(run.input) > limit:
            raise PayloadTooLargeError(len(run.input), limit)
    ids: list[str] = []
    # One statement needs no transaction of its own; an error that the caller catches must not spoil the caller's.
    many = len(runs) > _BATCH or (len(runs) > 1 and any(run.idempotency_key is not None for run in runs))
    with atomic() if many else nullcontext():
        for start in range(0, len(runs), _BATCH):
            batch = runs[start : start + _BATCH]
            insert = _insert_sql if database.is_postgresql() else _insert_orm
            created = insert(batch, notify)
            ids.extend(run.id if run.id in created else _existing(run) for run in batch)
    return ids


def _insert_sql(runs: Sequence[NewRun], notify: bool) -> set[str]:
    notice = f", pg_notify('{database.WORK}', {{payload}})" if notify and conf.settings.LISTEN else ""
    text, values = _one_statement(runs[0], notice) if len(runs) == 1 else _many_statement(runs, notice)
    return {row[0] for row in database.execute(text, values)}


def _one_statement(run: NewRun, notice: str) -> tuple[str, list[Any]]:
    now = wake_at = database.sql_now("statement_timestamp()")
    deadline_at = "NULL"
    delay: list[Any] = []
    if run.run_after is not None:
        delay = [run.run_after]
        wake_at = f"{now} + %s" if isinstance(run.run_after, timedelta) else f"GREATEST({now}, %s)"
    times = [*delay]
    if run.timeout is not None:
        deadline_at = f"{wake_at} + %s"
        times += [*delay, run.timeout]
    text = _INSERT_ONE.format(now=now, wake_at=wake_at, deadline_at=deadline_at, notify=notice.format(payload="run_id"))
    return text, [*(column.read(run) for column in _GIVEN), *times, _created(run)]


def _many_statement(runs: Sequence[NewRun], notice: str) -> tuple[str, list[Any]]:
    text = _INSERT_MANY.format(now=database.sql_now(), notify=notice.format(payload="''"))
    delays = [run.run_after if isinstance(run.run_after, timedelta) else timedelta(0) for run in runs]
    moments = [run.run_after if isinstance(run.run_after, datetime) else None for run in runs]
    beside = [delays, moments, [run.timeout for run in runs], [_created(run) for run in runs]]
    return text, [*([column.read(run) for run in runs] for column in _GIVEN), *beside]


def _created(run: NewRun) -> str:
    """The data of its ``run_created``, as it is stored."""
    return encrypt(run.created_event().encode())


def _insert_orm(runs: Sequence[NewRun], notify: bool) -> set[str]:
    """The same rows through the ORM."""
    with atomic():
        now = database.now()
        taken = _taken_keys(runs)
        new, seen = [], set(taken)
        for run in runs:
            key = (run.workflow, run.idempotency_key)
            if run.idempotency_key is None or key not in seen:
                new.append(run)
                seen.add(key)
        Run.objects.bulk_create([row_of(run, now) for run in new])
        Event.objects.bulk_create([_event(run, now) for run in new])
    return {run.id for run in new}


def _taken_keys(runs: Sequence[NewRun]) -> set[tuple[str, str | None]]:
    keys = [run.idempotency_key for run in runs if run.idempotency_key is not None]
    if not keys:
        return set()
    rows = Run.objects.filter(idempotency_key__in=keys)
    return set(rows.values_list("workflow", "idempotency_key"))


def row_of(run: NewRun, now: datetime) -> Run:
    """The row of a run that is created at ``now``, not saved yet."""
    return Run(
        **{column.name: getattr(run, column.name) for column in _GIVEN},
        status=RunStatus.PENDING,
        created_at=now,
        wake_at=run.wake_at(now),
        deadline_at=run.deadline_at(now),
        last_sequence=1,
        last_event_at=now,
    )


def _event(run: NewRun, now: datetime) -> Event:
    return Event(
        run_id=run.id, sequence=1, type=events.RunCreated.type, data=run.created_event().encode(), created_at=now
    )


def _existing(run: NewRun) -> str:
    """The run that has the idempotency key: the same call again, or a conflict."""
    found = Run.objects.get(workflow=run.workflow, idempotency_key=run.idempotency_key)
    if run.caller is not None:
        require_key_of(run.caller, first_event(found.pk))
    if canonical(dumps(found.input)) != canonical(Encoded(run.input)):
        which = f"Run {found.pk}" if run.caller is None else "A run"
        raise EntityConflictError(
            f"{which} of {run.workflow} already has the idempotency key {run.idempotency_key!r}, with other "
            "arguments. Use another key, or the arguments of the first call."
        )
    return str(found.pk)


def first_event(run_id: str) -> Event:
    found: Event = Event.objects.get(run_id=run_id, sequence=1)
    return found
