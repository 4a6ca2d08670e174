"""Creating runs: the row and its ``run_created`` in one statement (PostgreSQL) or one bulk insert each (elsewhere)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction as db_transaction

from ..exceptions import EntityConflictError
from ..models import Event, Run
from ..sealing import seal
from ..serialization import Encoded, canonical, dumps
from ..statuses import RunStatus
from . import database
from .runs import NewRun

_BATCH = 1000

#: the same for one run: a value per parameter
_FAST_ONE = """
WITH clock AS (SELECT {now} AS now), run AS (
    INSERT INTO django_workflows_run (id, workflow, queue, priority, status, input, error_code, attributes,
        idempotency_key, parent_id, parent_correlation_id, detached, forked_from, continued_from, seed, code_version,
        created_at, wake_at, deadline_at, last_sequence, last_event_at, life, blocked_reason, blocked_count,
        blocked_version)
    SELECT %s, %s, %s, %s::int, 'pending', %s, '', %s::jsonb, %s, %s, %s, %s::bool, %s, %s, %s, '',
        now, GREATEST(now + delay, not_before), GREATEST(now + delay, not_before) + timeout, 1, now, 0, '', 0, ''
    FROM clock, (SELECT %s::interval AS delay, %s::timestamptz AS not_before, %s::interval AS timeout) times
    ON CONFLICT (workflow, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING id
), event AS (
    INSERT INTO django_workflows_event (run_id, sequence, type, correlation_id, data, life, created_at)
    SELECT run.id, 1, 'run_created', '', %s, 0, clock.now FROM run, clock
)
SELECT run.id{ring} FROM run
"""

_FAST = """
WITH clock AS (SELECT {now} AS now), new AS (
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::int[], %s::text[], %s::text[], %s::text[], %s::text[],
        %s::text[], %s::bool[], %s::text[], %s::text[], %s::text[], %s::interval[], %s::timestamptz[], %s::interval[],
        %s::text[])
    AS t(id, workflow, queue, priority, input, attributes, idempotency_key, parent_id, parent_correlation_id, detached,
         forked_from, continued_from, seed, delay, not_before, timeout, data)
), run AS (
    INSERT INTO django_workflows_run (id, workflow, queue, priority, status, input, error_code, attributes,
        idempotency_key, parent_id, parent_correlation_id, detached, forked_from, continued_from, seed, code_version,
        created_at, wake_at, deadline_at, last_sequence, last_event_at, life, blocked_reason, blocked_count,
        blocked_version)
    SELECT id, workflow, queue, priority, 'pending', input, '', attributes::jsonb, idempotency_key, parent_id,
        parent_correlation_id, detached, forked_from, continued_from, seed, '', now,
        GREATEST(now + delay, not_before), GREATEST(now + delay, not_before) + timeout, 1, now, 0, '', 0, ''
    FROM new, clock
    ON CONFLICT (workflow, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING id
), event AS (
    INSERT INTO django_workflows_event (run_id, sequence, type, correlation_id, data, life, created_at)
    SELECT run.id, 1, 'run_created', '', new.data, 0, clock.now FROM run JOIN new USING (id), clock
)
SELECT run.id{ring} FROM run
"""


def create_runs(runs: Sequence[NewRun], *, ring: bool = False) -> list[str]:
    """Insert the runs and their ``run_created`` events, all or nothing; join the caller's transaction if there is one.

    Returns the runs' ids in order. With an idempotency key that is taken it is the id of the run that has it, provided
    that its arguments are equal.

    Raises:
        EntityConflictError: another run of the workflow has the idempotency key, with other arguments.
    """
    ids: list[str] = []
    # One statement needs no transaction of its own; an error that the caller catches must not spoil the caller's.
    many = len(runs) > _BATCH or (len(runs) > 1 and any(run.idempotency_key is not None for run in runs))
    with db_transaction.atomic(using=database.alias()) if many else _Nothing():
        for start in range(0, len(runs), _BATCH):
            batch = runs[start : start + _BATCH]
            insert = _insert_fast if database.is_postgresql() else _insert_plain
            created = insert(batch, ring)
            ids.extend(run.id if run.id in created else _existing(run) for run in batch)
    return ids


class _Nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def _insert_fast(runs: Sequence[NewRun], ring: bool) -> set[str]:
    columns: list[list[Any]] = [
        [run.id for run in runs],
        [run.workflow for run in runs],
        [run.queue for run in runs],
        [run.priority for run in runs],
        [seal(run.input) for run in runs],
        [str(dumps(run.attributes)) for run in runs],
        [run.idempotency_key for run in runs],
        [run.parent_id for run in runs],
        [run.parent_correlation_id for run in runs],
        [run.detached for run in runs],
        [run.forked_from for run in runs],
        [run.continued_from for run in runs],
        [run.seed for run in runs],
        [run.run_after if isinstance(run.run_after, timedelta) else timedelta(0) for run in runs],
        [run.run_after if isinstance(run.run_after, datetime) else None for run in runs],
        [run.timeout for run in runs],
        [seal(run.created_event().encode()) for run in runs],
    ]
    payload = "run.id" if len(runs) == 1 else "''"
    bell = f", pg_notify('{database.WORK}', {payload})" if ring and _listening() else ""
    with database.connection().cursor() as cursor:
        if len(runs) == 1:
            text, values = _FAST_ONE, [column[0] for column in columns]
        else:
            text, values = _FAST, columns
        cursor.execute(text.format(now=database.sql_now(), ring=bell), values)
        return {row[0] for row in cursor.fetchall()}


def _listening() -> bool:
    from .. import conf

    return bool(conf.settings.LISTEN)


def _insert_plain(runs: Sequence[NewRun], ring: bool) -> set[str]:
    """The same rows through the ORM."""
    alias = database.alias()
    with db_transaction.atomic(using=alias):
        now = database.now()
        taken = _taken_keys(runs)
        new, seen = [], set(taken)
        for run in runs:
            key = (run.workflow, run.idempotency_key)
            if run.idempotency_key is None or key not in seen:
                new.append(run)
                seen.add(key)
        Run.objects.using(alias).bulk_create([_run(run, now) for run in new])
        Event.objects.using(alias).bulk_create([_event(run, now) for run in new])
    return {run.id for run in new}


def _taken_keys(runs: Sequence[NewRun]) -> set[tuple[str, str | None]]:
    keys = [run.idempotency_key for run in runs if run.idempotency_key is not None]
    if not keys:
        return set()
    rows = Run.objects.using(database.alias()).filter(idempotency_key__in=keys)
    return set(rows.values_list("workflow", "idempotency_key"))


def _run(run: NewRun, now: datetime) -> Run:
    return Run(
        id=run.id,
        workflow=run.workflow,
        queue=run.queue,
        priority=run.priority,
        status=RunStatus.PENDING,
        input=run.input,
        attributes=run.attributes,
        idempotency_key=run.idempotency_key,
        parent_id=run.parent_id,
        parent_correlation_id=run.parent_correlation_id,
        detached=run.detached,
        forked_from=run.forked_from,
        continued_from=run.continued_from,
        seed=run.seed,
        created_at=now,
        wake_at=run.wake_at(now),
        deadline_at=run.deadline_at(now),
        last_sequence=1,
        last_event_at=now,
    )


def _event(run: NewRun, now: datetime) -> Event:
    return Event(run_id=run.id, sequence=1, type="run_created", data=run.created_event().encode(), created_at=now)


def _existing(run: NewRun) -> str:
    """The run that has the idempotency key: the same call again, or a conflict."""
    found = Run.objects.using(database.alias()).get(workflow=run.workflow, idempotency_key=run.idempotency_key)
    if canonical(dumps(found.input)) != canonical(Encoded(run.input)):
        raise EntityConflictError(
            f"Run {found.pk} of {run.workflow} already has the idempotency key {run.idempotency_key!r}, with other "
            "arguments. Use another key, or the arguments of the first call."
        )
    return str(found.pk)
