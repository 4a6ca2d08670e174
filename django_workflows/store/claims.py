"""What a worker asks the database: which runs are due, which steps can be claimed, what comes next.

Runs and steps wait in *lanes*, one per queue and priority, and each lane has its own stretch of a partial index. The
statements below hop from lane to lane, so that their cost depends on the number of lanes, not on how many runs sleep or
have ended. SQLite gets the same answers from simpler queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Min, Q

from ..eventlog import events
from ..eventlog.events import Record
from ..eventlog.statuses import StepStatus
from ..models import Outbox, Run, Schedule, Step, Worker
from ..models.querysets import RunQuerySet
from ..serialization.encryption import decrypt_or_sealed, is_sealed
from . import database, locking
from .database import Execute
from .rows import OpenEntities
from .transition import Transition


@dataclass(frozen=True, slots=True)
class WorkerScope:
    """What a worker can take: ``queues`` None means all of them; names its code defines; its code version."""

    queues: tuple[str, ...] | None
    workflows: tuple[str, ...]
    steps: tuple[str, ...]
    code_version: str


@dataclass(slots=True)
class Claimed:
    """A locked due run and, where it has never been advanced, its whole log."""

    transition: Transition
    log: list[Record] | None


@dataclass(frozen=True, slots=True)
class Running:
    """An attempt that is recorded as running."""

    run_id: str
    step_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Survey:
    """``now``: the database's time. Due times are None where nothing waits."""

    now: datetime
    next_run: datetime | None
    next_step: datetime | None
    next_tick: datetime | None
    dead_workers: tuple[str, ...]
    outbox_pending: bool
    #: whether any run is parked
    any_parked: bool
    #: of the attempts asked about, those that are no longer current
    lapsed: tuple[str, ...]
    #: attempts that are recorded as this worker's, and were not asked about
    unheld: tuple[Running, ...]


_LANES = """
RECURSIVE lanes AS (
    (SELECT queue, priority FROM django_workflows_{table} WHERE {open} ORDER BY queue, priority LIMIT 1)
    UNION ALL
    SELECT next.queue, next.priority FROM lanes, LATERAL (
        SELECT queue, priority FROM django_workflows_{table}
        WHERE {open} AND (queue, priority) > (lanes.queue, lanes.priority)
        ORDER BY queue, priority LIMIT 1) next
)
"""
_RUN_LANES = _LANES.format(table="run", open="wake_at IS NOT NULL AND blocked_until IS NULL")
_STEP_LANES = _LANES.format(table="step", open="status = 'pending'")

#: where a locked run has never been advanced, its whole log comes with it
_WITH_LOG = f"""
SELECT {locking.RUN_COLUMNS}, {{now}},
    CASE WHEN last_sequence = 1 THEN (SELECT data FROM django_workflows_event e WHERE e.run_id = locked.id
        AND e.sequence = 1) END
FROM locked
"""

#: lanes by priority, and among equals by what is due first in them: never by a queue's name
_CLAIM = f"""
WITH {_RUN_LANES}, locked AS MATERIALIZED (
    SELECT due.* FROM (
        SELECT lanes.queue, lanes.priority FROM lanes, LATERAL (
            SELECT r.wake_at FROM django_workflows_run r
            WHERE r.queue = lanes.queue AND r.priority = lanes.priority AND r.wake_at IS NOT NULL
                AND r.blocked_until IS NULL AND r.workflow = ANY(%s::text[])
            ORDER BY r.wake_at LIMIT 1) head
        WHERE %s::text[] IS NULL OR lanes.queue = ANY(%s::text[])
        ORDER BY lanes.priority DESC, head.wake_at) l,
    LATERAL (
        SELECT * FROM django_workflows_run r
        WHERE r.queue = l.queue AND r.priority = l.priority AND r.wake_at IS NOT NULL AND r.wake_at <= {{now}}
            AND r.blocked_until IS NULL AND r.workflow = ANY(%s::text[])
            AND {{doubted}} (r.workflow = ANY(%s::text[]) AND r.code_version <> '' AND r.code_version <> %s)
        ORDER BY r.wake_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED) due
    LIMIT %s
)
{_WITH_LOG}
"""

#: parked runs whose pauses, that of this version and that of all versions, are over; ``crashed`` ones apart
_CLAIM_PARKED = f"""
WITH locked AS MATERIALIZED (
    SELECT * FROM django_workflows_run r
    WHERE r.blocked_until IS NOT NULL AND r.wake_at <= {{now}} AND r.workflow = ANY(%s::text[])
        AND (%s::text[] IS NULL OR r.queue = ANY(%s::text[])) AND (r.crashes > 0) = %s::bool
        AND GREATEST((r.pauses -> %s::text ->> 0)::float8, (r.pauses -> '*' ->> 0)::float8, 0)
            <= extract(epoch FROM {{now}})
    ORDER BY GREATEST(r.wake_at, to_timestamp((r.pauses -> %s::text ->> 0)::float8))
    LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
)
{_WITH_LOG}
"""

_CLAIM_THESE = f"""
WITH locked AS MATERIALIZED (
    SELECT * FROM django_workflows_run r
    WHERE r.id = ANY(%s::text[]) AND r.wake_at <= {{now}} AND r.workflow = ANY(%s::text[])
        AND (%s::text[] IS NULL OR r.queue = ANY(%s::text[])) AND r.blocked_until IS NULL
    ORDER BY r.id FOR NO KEY UPDATE SKIP LOCKED
)
{_WITH_LOG}
"""


def claim_these_runs(scope: WorkerScope, run_ids: Sequence[str], execute: Execute) -> list[Claimed]:
    """Lock those of these runs that are due and that no other transaction holds: a NOTIFY has just named them."""
    database.require_transaction()
    queues = None if scope.queues is None else list(scope.queues)
    values = [list(run_ids), list(scope.workflows), queues, queues]
    return [_claimed(row) for row in execute(_CLAIM_THESE.format(now=database.sql_now()), values)]


def claim_due_runs(
    scope: WorkerScope, limit: int, execute: Execute, *, doubted: Sequence[str] = (), only_doubted: bool = False
) -> list[Claimed]:
    """Lock up to ``limit`` due runs, most urgent first, passing over those that another transaction holds.

    The open entities are not read: a run that was never advanced has none, and for the others the caller may have them.
    ``doubted``: workflows whose runs of other code versions are passed over, or with ``only_doubted`` claimed alone.
    """
    database.require_transaction()
    if not database.is_postgresql():
        return _claim_orm(scope, limit, doubted, only_doubted=only_doubted)
    queues = None if scope.queues is None else list(scope.queues)
    text = _CLAIM.format(now=database.sql_now(), doubted="" if only_doubted else "NOT")
    known = list(scope.workflows)
    values = [known, queues, queues, known, list(doubted), scope.code_version, limit, limit]
    return [_claimed(row) for row in execute(text, values)]


def claim_parked_runs(scope: WorkerScope, limit: int, execute: Execute, *, crashed: bool) -> list[Claimed]:
    """Lock up to ``limit`` due runs that are parked and that this code version may try again.

    ``crashed``: those whose body has taken a worker process down, or else those that are parked for another reason.
    """
    database.require_transaction()
    if not database.is_postgresql():
        return _claim_parked_orm(scope, limit, crashed=crashed)
    queues = None if scope.queues is None else list(scope.queues)
    version = scope.code_version
    values = [list(scope.workflows), queues, queues, crashed, version, version, limit]
    return [_claimed(row) for row in execute(_CLAIM_PARKED.format(now=database.sql_now()), values)]


def _claimed(row: Sequence[Any]) -> Claimed:
    *columns, created = row
    transition = _transition(columns)
    log = None
    if created is not None and not is_sealed(created := decrypt_or_sealed(created)):
        log = [Record(1, events.RunCreated.type, "", created, transition.run.created_at)]
    return Claimed(transition, log)  # a log that cannot be decrypted is read again alone, and says so


def _transition(row: Sequence[Any]) -> Transition:
    *columns, now = row
    return Transition(OpenEntities(locking.run_row(columns)), database.aware(now))


def _claim_orm(scope: WorkerScope, limit: int, doubted: Sequence[str], *, only_doubted: bool) -> list[Claimed]:
    rows = _due(scope).filter(blocked_until__isnull=True)
    others = Q(workflow__in=doubted) & ~Q(code_version__in=("", scope.code_version))
    rows = rows.filter(others) if only_doubted else rows.exclude(others)
    return _lock_due(list(rows.order_by("-priority", "wake_at").values_list("pk", flat=True)[:limit]))


def _claim_parked_orm(scope: WorkerScope, limit: int, *, crashed: bool) -> list[Claimed]:
    now = database.now().timestamp()
    rows = _due(scope).filter(blocked_until__isnull=False)
    rows = rows.filter(crashes__gt=0) if crashed else rows.filter(crashes=0)
    found = []
    for pk, wake_at, pauses in rows.values_list("pk", "wake_at", "pauses"):
        own, common = ((pauses or {}).get(version, [0.0])[0] for version in (scope.code_version, "*"))
        if max(own, common) <= now and wake_at is not None:
            found.append((max(own, wake_at.timestamp()), pk))
    return _lock_due([pk for _, pk in sorted(found)[:limit]])


def _due(scope: WorkerScope) -> RunQuerySet:
    rows = Run.objects.due(database.now()).filter(workflow__in=scope.workflows)
    return rows if scope.queues is None else rows.filter(queue__in=scope.queues)


def _lock_due(run_ids: Sequence[str]) -> list[Claimed]:
    return [Claimed(t, None) for t in locking.lock_runs(run_ids, skip_locked=True, entities=False)]


def lock_for_outcomes(run_ids: Sequence[str], execute: Execute, *, skip_locked: bool = False) -> list[Transition]:
    """Lock these runs in the order of their ids, waiting for them or passing over what is held; open entities are not read."""
    database.require_transaction()
    if not database.is_postgresql():
        return locking.lock_runs(run_ids, entities=False)
    return [_transition(row) for row in locking.lock_rows(run_ids, execute, skip_locked=skip_locked)]


def existing_runs(run_ids: Sequence[str]) -> list[str]:
    """Those of these runs that there are: others may have been pruned."""
    return list(Run.objects.filter(pk__in=run_ids).values_list("pk", flat=True))


_CLAIMABLE = f"""
WITH {_STEP_LANES}
SELECT s.run_id, s.correlation_id FROM
    (SELECT lanes.queue, lanes.priority FROM lanes, LATERAL (
        SELECT h.available_at FROM django_workflows_step h
        WHERE h.queue = lanes.queue AND h.priority = lanes.priority AND h.status = 'pending'
            AND h.name = ANY(%s::text[])
        ORDER BY h.available_at LIMIT 1) head
    WHERE %s::text[] IS NULL OR lanes.queue = ANY(%s::text[])
    ORDER BY lanes.priority DESC, head.available_at) l,
    LATERAL (
        SELECT run_id, correlation_id, id FROM django_workflows_step c
        WHERE c.queue = l.queue AND c.priority = l.priority AND c.status = 'pending' AND c.available_at <= {{now}}
            AND c.name = ANY(%s::text[]) AND c.run_id <> ALL(%s::text[])
        ORDER BY c.available_at, c.id LIMIT %s) s
LIMIT %s
"""


def claimable_steps(
    scope: WorkerScope, limit: int, execute: Execute, without: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """Steps that could be started now, as (run id, correlation id), most urgent first: a hint, read again under lock.

    ``without``: runs whose steps are passed over.
    """
    if not database.is_postgresql():
        rows = Step.objects.claimable(database.now()).filter(name__in=scope.steps).exclude(run_id__in=without)
        if scope.queues is not None:
            rows = rows.filter(queue__in=scope.queues)
        return list(rows.order_by("-priority", "available_at", "pk").values_list("run_id", "correlation_id")[:limit])
    queues = None if scope.queues is None else list(scope.queues)
    text = _CLAIMABLE.format(now=database.sql_now())
    known = list(scope.steps)
    values = [known, queues, queues, known, list(without), limit, limit]
    return [tuple(row) for row in execute(text, values)]


_SURVEY_STEP_LANES = _STEP_LANES.replace("RECURSIVE ", "").replace("lanes", "step_lanes")
#: worker rows that one question looks at
_MOST_WORKERS = 1000
#: a worker's process has ended: the server dropped its session, and with it the lock that shows its life
_LOCK_GONE = """w.lock_trusted AND NOT EXISTS (SELECT 1 FROM pg_locks k WHERE k.locktype = 'advisory'
            AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND k.objsubid = 1
            AND k.classid::bigint = (w.lock_key >> 32) AND k.objid::bigint = (w.lock_key & 4294967295))"""

_SURVEY = f"""
WITH {_RUN_LANES},
{_SURVEY_STEP_LANES}
SELECT {{now}},
    (SELECT min(due.at) FROM lanes l, LATERAL (
        SELECT r.wake_at AS at
        FROM django_workflows_run r WHERE r.queue = l.queue AND r.priority = l.priority
            AND r.wake_at IS NOT NULL AND r.blocked_until IS NULL AND r.workflow = ANY(%s::text[])
        ORDER BY r.wake_at LIMIT 1) due WHERE %s::text[] IS NULL OR l.queue = ANY(%s::text[])),
    (SELECT min(c.at) FROM step_lanes l, LATERAL (
        SELECT s.available_at AS at FROM django_workflows_step s WHERE s.queue = l.queue AND s.priority = l.priority
            AND s.status = 'pending' AND s.name = ANY(%s::text[])
        ORDER BY s.available_at LIMIT 1) c WHERE %s::text[] IS NULL OR l.queue = ANY(%s::text[])),
    (SELECT min(due_at) FROM django_workflows_schedule WHERE due_at IS NOT NULL AND paused_at IS NULL
        AND workflow = ANY(%s::text[])),
    ARRAY(SELECT w.id FROM django_workflows_worker w WHERE w.stopped_at IS NULL AND (
        w.heartbeat_at < {{now}} - %s::interval
        OR {_LOCK_GONE})),
    EXISTS (SELECT 1 FROM django_workflows_outbox),
    EXISTS (SELECT 1 FROM django_workflows_run WHERE blocked_until IS NOT NULL),
    ARRAY(SELECT mine.id FROM unnest(%s::text[], %s::int[]) mine(id, attempt)
        LEFT JOIN django_workflows_step s ON s.id = mine.id
        WHERE s.id IS NULL OR s.status <> 'running' OR s.attempt <> mine.attempt OR s.worker_id <> %s),
    ARRAY(SELECT s.run_id || ' ' || s.id || ' ' || s.attempt FROM django_workflows_step s
        WHERE s.worker_id = %s AND s.status = 'running' AND NOT EXISTS (
            SELECT 1 FROM unnest(%s::text[], %s::int[]) mine(id, attempt) WHERE mine.id = s.id AND mine.attempt = s.attempt))
"""


def workers_whose_process_ended() -> frozenset[str]:
    """Workers that never said that they stop and whose lock is gone. Empty where no lock can be trusted."""
    if not database.is_postgresql():
        return frozenset()
    text = f"SELECT w.id FROM django_workflows_worker w WHERE w.stopped_at IS NULL AND {_LOCK_GONE} LIMIT %s"
    return frozenset(row[0] for row in database.execute(text, [_MOST_WORKERS]))


def survey(
    scope: WorkerScope, worker_id: str, held: Sequence[tuple[str, int]], timeout: timedelta, execute: Execute
) -> Survey:
    """One statement that says what there is to do: the base of the worker's loop; notifications only shorten its waits.

    ``held``: (step id, number) of all attempts that the worker has, running or to be recorded.
    """
    if not database.is_postgresql():
        return _survey_orm(scope, worker_id, held, timeout)
    queues = None if scope.queues is None else list(scope.queues)
    values = [
        list(scope.workflows), queues, queues, list(scope.steps), queues, queues,
        list(scope.workflows), timeout, *_columns(held), worker_id, worker_id, *_columns(held),
    ]  # fmt: skip
    *moments, dead, pending, parked, lapsed, unheld = execute(_SURVEY.format(now=database.sql_now()), values)[0]
    now, run, step, tick = (None if moment is None else database.aware(moment) for moment in moments)
    running = tuple(Running(run_id, step_id, int(attempt)) for run_id, step_id, attempt in map(str.split, unheld))
    return Survey(now, run, step, tick, tuple(dead), pending, parked, tuple(lapsed), running)  # type: ignore[arg-type]


def _columns(held: Sequence[tuple[str, int]]) -> tuple[list[str], list[int]]:
    return [step_id for step_id, _ in held], [attempt for _, attempt in held]


def _survey_orm(scope: WorkerScope, worker_id: str, held: Sequence[tuple[str, int]], timeout: timedelta) -> Survey:
    now = database.now()
    runs = Run.objects.filter(wake_at__isnull=False, blocked_until__isnull=True, workflow__in=scope.workflows)
    steps = Step.objects.filter(status=StepStatus.PENDING, name__in=scope.steps)
    if scope.queues is not None:
        runs, steps = runs.filter(queue__in=scope.queues), steps.filter(queue__in=scope.queues)
    ticks = Schedule.objects.filter(paused_at__isnull=True, workflow__in=scope.workflows)
    dead = Worker.objects.alive().filter(heartbeat_at__lt=now - timeout)
    current = Step.objects.filter(worker_id=worker_id, status=StepStatus.RUNNING)
    running = {(pk, attempt): run_id for pk, attempt, run_id in current.values_list("pk", "attempt", "run_id")}
    return Survey(
        now,
        runs.aggregate(at=Min("wake_at"))["at"],
        steps.aggregate(at=Min("available_at"))["at"],
        ticks.aggregate(at=Min("due_at"))["at"],
        tuple(dead.values_list("pk", flat=True)),
        Outbox.objects.exists(),
        Run.objects.filter(blocked_until__isnull=False).exists(),
        tuple(pk for pk, attempt in held if (pk, attempt) not in running),
        tuple(Running(run_id, pk, attempt) for (pk, attempt), run_id in running.items() if (pk, attempt) not in held),
    )
