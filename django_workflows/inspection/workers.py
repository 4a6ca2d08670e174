"""Which workers live, and what each serves: one judgement for the doctor, the overview and the validator.

A worker gives a sign of life every ``HEARTBEAT_INTERVAL`` seconds. After ``HEARTBEAT_TIMEOUT`` of silence the others
take it for dead and requeue its steps (``store.claims``). This module decides nothing; it reports the same judgement.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db.models import Count

from .. import conf
from ..models import Step, Worker
from ..store.claims import workers_whose_process_ended

#: how long something may be due before a worker is late with it
OVERDUE_AFTER = timedelta(seconds=10)
#: heartbeats that may be missed before it is worth a word
_LATE_AFTER = 3


class Liveness(StrEnum):
    """By the last sign of life: ``late`` has missed several and counts as alive; ``dead`` is past the timeout."""

    ALIVE = "alive"
    LATE = "late"
    DEAD = "dead"


def liveness(worker: Worker, now: datetime, ended: Collection[str] = ()) -> Liveness:
    """How a worker that has not stopped is seen at ``now``, by the database's clock.

    ``ended``: of :func:`workers_whose_process_ended`, who are dead however short their silence.
    """
    if worker.pk in ended:
        return Liveness.DEAD
    silent = (now - worker.heartbeat_at).total_seconds()
    if silent > conf.settings.HEARTBEAT_TIMEOUT:
        return Liveness.DEAD
    return Liveness.LATE if silent > _LATE_AFTER * conf.settings.HEARTBEAT_INTERVAL else Liveness.ALIVE


def serves(worker: Worker, queue: str) -> bool:
    """Whether the worker takes what is in this queue; one without queues takes everything."""
    return not worker.queues or queue in worker.queues


def live_workers(now: datetime) -> list[Worker]:
    """Workers that have neither stopped nor fallen silent for too long."""
    ended = workers_whose_process_ended()
    return [worker for worker in Worker.objects.alive() if liveness(worker, now, ended) is not Liveness.DEAD]


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker that has not stopped: how long it has been silent, how that is seen, and how many steps it runs."""

    worker: Worker
    silent: timedelta
    state: Liveness
    running: int

    @property
    def is_dead(self) -> bool:
        return self.state is Liveness.DEAD


def worker_states(now: datetime, limit: int = 200) -> list[WorkerState]:
    """The workers that have not stopped, at most ``limit``, by host and process."""
    rows = list(Worker.objects.alive().order_by("hostname", "pid")[:limit])
    counts = _running_steps(rows)
    ended = workers_whose_process_ended()
    return [
        WorkerState(
            worker,
            max(now - worker.heartbeat_at, timedelta(0)),
            liveness(worker, now, ended),
            counts.get(worker.pk, 0),
        )
        for worker in rows
    ]


def _running_steps(workers: Sequence[Worker]) -> dict[str, int]:
    running = Step.objects.running().filter(worker_id__in=[worker.pk for worker in workers]).order_by()
    return {row["worker_id"]: row["many"] for row in running.values("worker_id").annotate(many=Count("pk"))}
