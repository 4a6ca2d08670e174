"""Worker rows: who is there, how that is known, and what happens to the steps of those who are not.

A worker shows that it lives by a heartbeat and, on PostgreSQL, by a session advisory lock: when its process dies the server
drops the connection and with it the lock, which the others see within a second. A lock that was taken through a
transaction pooler proves nothing; then the row says so and the heartbeat alone decides.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import timedelta

from django.db.models import Q

from ..eventlog.statuses import StepStatus
from ..models import Step, Worker
from ..services import steps
from ..store import database
from ..store.claims import WorkerScope
from ..store.locking import lock_runs, read_step
from ..store.transactions import atomic
from ..store.write import write


def register_worker(
    worker_id: str,
    scope: WorkerScope,
    *,
    concurrency: int,
    lock_key: int,
    lock_trusted: bool,
    listening: bool,
    skew: float,
) -> Worker:
    """Record a worker that begins."""
    now = database.now()
    return Worker.objects.create(
        id=worker_id,
        hostname=socket.gethostname(),
        pid=os.getpid(),
        queues=list(scope.queues or ()),
        concurrency=concurrency,
        code_version=scope.code_version,
        workflows=list(scope.workflows),
        started_at=now,
        heartbeat_at=now,
        lock_key=lock_key,
        lock_trusted=lock_trusted,
        listening=listening,
        clock_skew=skew,
    )


def beat(worker_id: str, load: int) -> bool:
    """A sign of life. False: the others took this worker for dead (it was frozen, say); it must begin again."""
    alive = Worker.objects.alive().filter(pk=worker_id)
    return bool(alive.update(heartbeat_at=database.now(), load=load))


def set_liveness(worker_id: str, *, lock_key: int, lock_trusted: bool, listening: bool) -> None:
    """After a reconnect: which lock is held now, whether it proves anything, and whether the doorbell works."""
    rows = Worker.objects.filter(pk=worker_id)
    rows.update(lock_key=lock_key, lock_trusted=lock_trusted, listening=listening, heartbeat_at=database.now())


def stop_worker(worker_id: str) -> None:
    """The worker has ended, or its death was noticed."""
    Worker.objects.alive().filter(pk=worker_id).update(stopped_at=database.now())


def rescue(worker_ids: Sequence[str]) -> int:
    """Give the steps of dead workers back: lost, not failed. Returns how many. Any number of workers may call it."""
    count = 0
    for worker_id in worker_ids:
        running = Step.objects.running().filter(worker_id=worker_id)
        for step_id, run_id in list(running.order_by("run_id", "pk").values_list("pk", "run_id")):
            count += _rescue_step(run_id, step_id, worker_id)
        if not running.exists():  # some may be held by a long transaction: they are next
            stop_worker(worker_id)
    return count


def _rescue_step(run_id: str, step_id: str, worker_id: str) -> int:
    with atomic():
        found = lock_runs([run_id], skip_locked=True, entities=False)
        if not found:  # held by somebody's long transaction: the next look finds it again
            return 0
        transition = found[0]
        step = read_step(transition, step_id)
        if step is None or step.status != StepStatus.RUNNING or step.worker_id != worker_id:
            return 0
        steps.lose_step(transition, step)
        write([transition])
        return 1


def rescue_orphans() -> int:
    """Give back running steps whose worker has no row at all, or one that says it stopped."""
    alive = Worker.objects.alive().values("pk")
    orphans = Step.objects.running().filter(Q(worker_id__isnull=True) | ~Q(worker_id__in=alive))
    count = 0
    for step_id, run_id, worker_id in list(orphans.order_by("run_id", "pk").values_list("pk", "run_id", "worker_id")):
        count += _rescue_step(run_id, step_id, worker_id)
    return count


def forget_workers(age: timedelta = timedelta(days=1)) -> int:
    """Remove rows of workers that ended long ago."""
    rows = Worker.objects.filter(stopped_at__lt=database.now() - age)
    return rows.delete()[0]
