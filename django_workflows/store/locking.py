"""The one place where run rows are locked, and their open entities read under that lock.

Locks are ``FOR NO KEY UPDATE``, so that inserts which refer to the run do not queue behind them. SQLite has one writer
at a time: with ``BEGIN IMMEDIATE`` the open transaction is the lock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import QuerySet

from ..eventlog.statuses import ACTIVE_STEP, WaitStatus
from ..exceptions import RunNotFoundError
from ..models import Hook, Run, Step, Wait
from ..serialization import Encoded
from ..serialization.columns import stored
from ..serialization.encryption import decrypt, decrypt_or_sealed, is_sealed
from . import database
from .columns import columns, names
from .database import Execute
from .event_log import unreadable
from .rows import HookRow, OpenEntities, RunRow, StepRow, WaitRow
from .transition import Transition

R = TypeVar("R", RunRow, StepRow, WaitRow, HookRow)
_PAYLOADS = frozenset(column.name for row in (RunRow, StepRow) for column in columns(row) if column.type is Encoded)
#: for hand-written SQL: what :func:`run_row` takes
RUN_COLUMNS = ", ".join(names(RunRow))


def _values(rows: QuerySet[Any], columns: Sequence[str]) -> Iterable[tuple[Any, ...]]:
    """The columns as they are stored: payload text is not decoded, only decrypted."""
    raw = stored(*(name for name in columns if name in _PAYLOADS))
    places = [i for i, name in enumerate(columns) if name in _PAYLOADS]
    names = [f"raw_{name}" if name in _PAYLOADS else name for name in columns]
    for row in rows.annotate(**raw).values_list(*names):
        if not places:
            yield row
            continue
        values = list(row)
        for place in places:
            if values[place] is not None:
                values[place] = Encoded(decrypt_or_sealed(values[place]))
        yield tuple(values)


def _rows(row: type[R], found: QuerySet[Any]) -> Iterator[R]:
    for values in _values(found, names(row)):
        yield row(*values)


def lock_run(run_id: str) -> Transition:
    """Lock one run. The transition's time is read after the lock was won; its entities are not read.

    Raises:
        RunNotFoundError: there is no such run.
    """
    found = lock_runs([run_id], entities=False)
    if not found:
        raise RunNotFoundError(run_id)
    return found[0]


def lock_whole_run(run_id: str) -> Transition:
    """Lock one run and read its open entities."""
    transition = lock_run(run_id)
    read_entities([transition.entities])
    return transition


def lock_runs(run_ids: Sequence[str], *, skip_locked: bool = False, entities: bool = True) -> list[Transition]:
    """Lock these runs in the order of their ids; those that do not exist are left out."""
    database.require_transaction()
    if database.is_postgresql():
        found = [
            Transition(OpenEntities(run_row(columns)), database.aware(now))
            for *columns, now in lock_rows(run_ids, database.execute, skip_locked=skip_locked)
        ]
        if entities and found:
            read_entities([transition.entities for transition in found])
        return found
    return _lock_orm(run_ids, entities=entities)


_LOCK = f"""
WITH locked AS MATERIALIZED (
    SELECT * FROM django_workflows_run WHERE id = ANY(%s::text[]) ORDER BY id FOR NO KEY UPDATE {{skip}}
)
SELECT {RUN_COLUMNS}, {{now}} FROM locked
"""


def lock_rows(run_ids: Sequence[str], execute: Execute, *, skip_locked: bool = False) -> Sequence[tuple[Any, ...]]:
    """On PostgreSQL: the columns of these runs, once they are locked, and the time after that. One statement."""
    skip = "SKIP LOCKED" if skip_locked else ""
    return execute(_LOCK.format(now=database.sql_now(), skip=skip), [list(run_ids)])


_MOMENTS, _JSON, _ENCODED = (
    tuple(place for place, column in enumerate(columns(RunRow)) if column.type is kind)
    for kind in (datetime, dict, Encoded)
)


def run_row(stored: Sequence[Any]) -> RunRow:
    """A row as hand-written SQL reads it: JSON still text, payloads encrypted, times naive under ``USE_TZ = False``."""
    values = list(stored)
    for place in _MOMENTS:
        if values[place] is not None and values[place].tzinfo is None:
            values[place] = database.aware(values[place])
    for place in _JSON:
        if isinstance(values[place], str):
            values[place] = json.loads(values[place]) if values[place] != "{}" else {}
    for place in _ENCODED:
        if values[place] is not None:
            values[place] = Encoded(decrypt_or_sealed(values[place]))
    return RunRow(*values)


def _lock_orm(run_ids: Sequence[str], *, entities: bool) -> list[Transition]:
    """On SQLite the open transaction is the lock."""
    rows = Run.objects.filter(pk__in=run_ids).order_by("pk")
    runs = list(_rows(RunRow, rows))
    if not runs:
        return []
    now = database.now()
    found = [OpenEntities(run) for run in runs]
    if entities:
        read_entities(found)
    return [Transition(entities, now) for entities in found]


def read_entities(found: Sequence[OpenEntities]) -> None:
    """Read the open entities of locked runs: three queries for all of them."""
    by_run = {entities.run.id: entities for entities in found}
    ids = list(by_run)
    for step in _rows(StepRow, Step.objects.filter(run_id__in=ids, status__in=sorted(ACTIVE_STEP)).order_by("pk")):
        by_run[step.run_id].steps[step.correlation_id] = step
    for wait in _rows(WaitRow, Wait.objects.filter(run_id__in=ids, status=WaitStatus.WAITING).order_by("pk")):
        by_run[wait.run_id].add_wait(wait)
    for hook in _rows(HookRow, Hook.objects.filter(run_id__in=ids, disposed_at__isnull=True).order_by("pk")):
        by_run[hook.run_id].hooks[hook.correlation_id] = hook


def read_step(transition: Transition, step_id: str) -> StepRow | None:
    """One step of the locked run, whatever its status; among the open entities where it is one."""
    for step in _rows(StepRow, Step.objects.filter(pk=step_id, run_id=transition.run.id)):
        if step.status in ACTIVE_STEP:
            transition.entities.steps[step.correlation_id] = step
        return step
    return None


def read_steps(transition: Transition, correlation_ids: Sequence[str]) -> None:
    """These steps of the locked run, where they are still open, into its entities."""
    rows = Step.objects.filter(
        run_id=transition.run.id, correlation_id__in=correlation_ids, status__in=sorted(ACTIVE_STEP)
    )
    for step in _rows(StepRow, rows):
        transition.entities.steps[step.correlation_id] = step


def read_waits(transition: Transition) -> None:
    """The open waits of the locked run, into its entities."""
    rows = Wait.objects.filter(run_id=transition.run.id, status=WaitStatus.WAITING).order_by("pk")
    for wait in _rows(WaitRow, rows):
        transition.entities.add_wait(wait)


def read_all_steps(transition: Transition) -> list[StepRow]:
    """Every step of the locked run, ended or not; the open entities are left as they are."""
    rows = Step.objects.filter(run_id=transition.run.id).order_by("pk")
    return list(_rows(StepRow, rows))


def read_all_waits(transition: Transition) -> list[WaitRow]:
    """Every wait of the locked run, ended or not; the open entities are left as they are."""
    rows = Wait.objects.filter(run_id=transition.run.id).order_by("pk")
    return list(_rows(WaitRow, rows))


def read_end(run_id: str) -> tuple[str, Encoded | None, Encoded | None]:
    """Status, output and error of a run, as they are stored; no lock.

    Raises:
        RunNotFoundError: there is no such run. CorruptedEventLogError: its output or error cannot be decrypted.
    """
    for status, output, error in _values(Run.objects.filter(pk=run_id), ("status", "output", "error")):
        require_readable(f"The end of run {run_id}", output, error)
        return status, output, error
    raise RunNotFoundError(run_id)


def require_readable(what: str, *payloads: Encoded | None) -> None:
    """Raise CorruptedEventLogError, with why, if one of these payloads was left sealed. ``what`` begins the sentence."""
    for payload in payloads:
        if payload is not None and is_sealed(payload):
            try:
                decrypt(payload)
            except Exception as error:
                raise unreadable(what, error) from error
