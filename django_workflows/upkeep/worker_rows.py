"""Worker rows: which workers live, how that is known, and what happens to the steps of those that are gone.

A worker shows that it lives by a heartbeat and, on PostgreSQL, by a session advisory lock: when its process dies the server
drops the connection and with it the lock, which the others see within a second. A lock that was taken through a
transaction pooler proves nothing; then the row says so and the heartbeat alone decides.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from ..eventlog.statuses import StepStatus
from ..models import Step, Worker
from ..services import runs, steps
from ..store import database, faults
from ..store.claims import WorkerScope
from ..store.code_version import code_version
from ..store.locking import lock_runs, read_step
from ..store.transactions import atomic
from ..store.write import write

logger = logging.getLogger("django_workflows.worker")


@dataclass(frozen=True, slots=True)
class Unsaved:
    """``count`` results wait to be saved ``since`` then; ``reason``: a sentence without a full stop."""

    count: int
    since: datetime
    reason: str

    def __str__(self) -> str:
        since = f"since {timezone.localtime(self.since):%H:%M:%S}: {self.reason}"
        if not self.count:
            return f"The database refuses work {since}"
        return f"{'1 result waits' if self.count == 1 else f'{self.count} results wait'} to be saved {since}"


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
    """Register a starting worker. ``skew``: its wall clock minus the database's, in seconds."""
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


def beat(worker_id: str, load: int, unsaved: Unsaved | None = None) -> bool:
    """A sign of life. False: the others took this worker for dead (it was frozen, say); it must register again."""
    alive = Worker.objects.alive().filter(pk=worker_id)
    count, since, reason = (unsaved.count, unsaved.since, unsaved.reason) if unsaved else (0, None, "")
    return bool(
        alive.update(heartbeat_at=database.now(), load=load, unsaved=count, unsaved_since=since, unsaved_reason=reason)
    )


def set_liveness(worker_id: str, *, lock_key: int, lock_trusted: bool, listening: bool) -> None:
    """After a reconnect: which lock is held now, whether it proves anything, and whether the doorbell works."""
    rows = Worker.objects.filter(pk=worker_id)
    rows.update(lock_key=lock_key, lock_trusted=lock_trusted, listening=listening, heartbeat_at=database.now())


def stop_worker(worker_id: str) -> None:
    """The worker has ended, or its death was noticed."""
    Worker.objects.alive().filter(pk=worker_id).update(stopped_at=database.now())


def rescue(worker_ids: Sequence[str]) -> int:
    """Requeue the steps of dead workers: lost, not failed. Returns how many. Any number of workers may call it.

    A run whose rows do not allow it is parked with the reason, and the others follow; when it has been repaired,
    :func:`rescue_orphans` finds what is left of it.
    """
    count = 0
    for worker_id in worker_ids:
        running = Step.objects.running().filter(worker_id=worker_id)
        parked = set()
        for step_id, run_id in list(running.order_by("run_id", "pk").values_list("pk", "run_id")):
            rescued = _rescue_or_park(run_id, step_id, worker_id)
            if rescued is None:
                parked.add(run_id)
            else:
                count += rescued
        if not running.exclude(run_id__in=parked).exists():  # some may be held by a long transaction: they are next
            stop_worker(worker_id)
    return count


def _rescue_or_park(run_id: str, step_id: str, worker_id: str | None) -> int | None:
    """How many steps were given back: 0 or 1. None: the run's own rows stand in the way, and it is parked.

    Raises only what the store refuses for now, or what broke the connection: the others would fare no better.
    """
    try:
        return _rescue_step(run_id, step_id, worker_id)
    except Exception as error:
        fault = faults.classify(error)
        if fault.will_pass:
            raise
        reason = f"the step of a worker that died cannot be given back: {fault.sentence}"
        logger.warning("Run %s is parked: %s", run_id, reason, exc_info=fault.kind is faults.Kind.OURS)
    try:
        with atomic():
            for transition in lock_runs([run_id], skip_locked=True, entities=False):
                runs.block_run(transition, reason, code_version())
                write([transition])
    except Exception as error:
        if faults.classify(error).will_pass:
            raise
        logger.exception("Run %s cannot be parked.", run_id)
    return None


def _rescue_step(run_id: str, step_id: str, worker_id: str | None) -> int:
    with atomic():
        found = lock_runs([run_id], skip_locked=True, entities=False)
        if not found:  # held by a long transaction: the next survey finds it again
            return 0
        transition = found[0]
        step = read_step(transition, step_id)
        if step is None or step.status != StepStatus.RUNNING or step.worker_id != worker_id:
            return 0
        steps.lose_step(transition, step)
        write([transition])
        return 1


def rescue_orphans() -> int:
    """Requeue running steps whose worker has no row at all, or one that says it stopped."""
    alive = Worker.objects.alive().values("pk")
    orphans = Step.objects.running().filter(Q(worker_id__isnull=True) | ~Q(worker_id__in=alive))
    count = 0
    for step_id, run_id, worker_id in list(orphans.order_by("run_id", "pk").values_list("pk", "run_id", "worker_id")):
        count += _rescue_or_park(run_id, step_id, worker_id) or 0
    return count


def forget_workers(age: timedelta = timedelta(days=1)) -> int:
    """Remove rows of workers that ended long ago."""
    rows = Worker.objects.filter(stopped_at__lt=database.now() - age)
    return rows.delete()[0]
