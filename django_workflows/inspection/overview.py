"""System-wide statistics: runs over time, queues, slow and failing steps, workers. Every query is bounded.

What happens over time is read from the newest runs: those of the last day, but at most ``NEWEST``. The page says which
stretch of time that is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count as CountOf
from django.db.models import (
    DateTimeField,
    DurationField,
    ExpressionWrapper,
    F,
    FloatField,
    IntegerField,
    Min,
    QuerySet,
    Value,
)
from django.db.models.functions import Cast, Extract, Floor

from .. import conf
from ..eventlog.statuses import ACTIVE_RUN, RunStatus, StepStatus
from ..models import Run, Step
from ..serialization.columns import with_raw
from ..store import database
from ..values import clock
from .counts import Count, count_by_status
from .workers import WorkerState, serves, worker_states

DAY = timedelta(days=1)
NEWEST = 5_000
#: ended steps that the statistics of steps are made from
STEPS = 2_000
_BUCKETS = 48


@dataclass(frozen=True, slots=True)
class Bucket:
    """Runs that were created in one stretch of time, by their status now."""

    start: datetime
    end: datetime
    counts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class WorkflowShare:
    """The recent runs of one workflow by status. ``failed``: the share of those that ended, 0 to 1."""

    name: str
    counts: dict[str, int]
    total: int
    failed: float


@dataclass(frozen=True, slots=True)
class Recent:
    """The runs created since ``since``. ``cut``: there were more than ``NEWEST`` in the last day."""

    since: datetime
    total: int
    cut: bool
    buckets: list[Bucket]
    workflows: list[WorkflowShare]


@dataclass(frozen=True, slots=True)
class Queue:
    """What is due in one queue now, since when, and how many live workers serve it."""

    name: str
    due: int
    oldest_due: datetime | None
    steps: int
    oldest_step: datetime | None
    #: workers alive that serve it
    workers: int


@dataclass(frozen=True, slots=True)
class StepShare:
    """How the steps of one name went. Times in seconds, of attempts as a whole: first start to end."""

    name: str
    count: int
    failed: int
    retried: int
    median: float
    p95: float
    slowest: float
    slowest_run: str

    @property
    def failure_rate(self) -> float:
        return self.failed / self.count if self.count else 0.0


@dataclass(slots=True)
class Overview:
    """Everything that the overview shows, as it was at ``now``."""

    now: datetime
    statuses: dict[str, Count]
    blocked: list[Run]
    failed: list[Run]
    recent: Recent
    queues: list[Queue]
    steps: list[StepShare]
    running: list[Step]
    workers: list[WorkerState]
    steps_looked_at: int = 0


def overview(now: datetime | None = None) -> Overview:
    """The statistics at ``now``, by default this moment; every query is bounded."""
    now = now or clock.now()
    workers = worker_states(now)
    shares, looked_at = slow_steps(now)
    return Overview(
        now=now,
        statuses=count_by_status([status.value for status in RunStatus]),
        blocked=list(_light(_runs().filter(blocked_until__isnull=False).order_by("blocked_until")[:20])),
        failed=list(_light(_runs().filter(status=RunStatus.FAILED).order_by("-created_at")[:10])),
        recent=recent(now),
        queues=queues(now, workers),
        steps=shares,
        running=list(_longest_running()),
        workers=workers,
        steps_looked_at=looked_at,
    )


def _runs() -> Any:
    return Run.objects


def _light(rows: Any) -> Any:
    return with_raw(rows, "error").defer("input", "output", "error")


# --- over time -------------------------------------------------------------------------------------------------------


def recent(now: datetime) -> Recent:
    """The newest runs by time and status, and by workflow and status."""
    newest = (
        _runs().filter(created_at__gte=now - DAY).order_by("-created_at", "-id").values_list("created_at", flat=True)
    )
    edge = list(newest[NEWEST - 1 : NEWEST + 1])
    cut = len(edge) > 1
    since = edge[0] if cut else now - DAY
    width = max((now - since) / _BUCKETS, timedelta(milliseconds=1))
    buckets: list[Counter[str]] = [Counter() for _ in range(_BUCKETS)]
    workflows: dict[str, Counter[str]] = defaultdict(Counter)
    for place, status, workflow, many in _by_bucket(since, width):
        buckets[min(max(place, 0), _BUCKETS - 1)][status] += many
        workflows[workflow][status] += many
    return Recent(
        since,
        sum(bucket.total() for bucket in buckets),
        cut,
        [Bucket(since + width * i, since + width * (i + 1), dict(counts)) for i, counts in enumerate(buckets)],
        sorted((_workflow_share(name, c) for name, c in workflows.items()), key=lambda w: (-w.failed, -w.total))[:20],
    )


def _by_bucket(since: datetime, width: timedelta) -> Iterator[tuple[int, str, str, int]]:
    """Runs created since then: in which stretch of time, status, workflow, how many."""
    rows = _runs().filter(created_at__gte=since).order_by()
    if database.is_postgresql():
        age = ExpressionWrapper(F("created_at") - Value(since, DateTimeField()), DurationField())
        share = ExpressionWrapper(Extract(age, "epoch") / Value(width.total_seconds()), FloatField())
        grouped = rows.annotate(bucket=Cast(Floor(share), IntegerField())).values_list("bucket", "status", "workflow")
        yield from grouped.annotate(many=CountOf("pk"))
        return
    for created_at, status, workflow in rows.values_list("created_at", "status", "workflow"):
        yield int((created_at - since) / width), status, workflow, 1


def _workflow_share(name: str, counts: Counter[str]) -> WorkflowShare:
    ended = counts[RunStatus.COMPLETED] + counts[RunStatus.FAILED]
    return WorkflowShare(name, dict(counts), sum(counts.values()), counts[RunStatus.FAILED] / ended if ended else 0.0)


# --- queues ----------------------------------------------------------------------------------------------------------


def queues(now: datetime, workers: Sequence[WorkerState]) -> list[Queue]:
    """Every queue that has something due, or a worker of its own, or a waiting step."""
    due = {row["queue"]: row for row in _grouped(_runs().filter(wake_at__lte=now), "wake_at")}
    steps = Step.objects.filter(status=StepStatus.PENDING, available_at__lte=now)
    pending = {row["queue"]: row for row in _grouped(steps, "available_at")}
    served = {queue for state in workers if not state.is_dead for queue in state.worker.queues}
    empty: dict[str, Any] = {"many": 0, "oldest": None}
    found = []
    for name in sorted({*due, *pending, *served, conf.settings.DEFAULT_QUEUE}):
        runs, step = due.get(name, empty), pending.get(name, empty)
        found.append(Queue(name, runs["many"], runs["oldest"], step["many"], step["oldest"], _serving(name, workers)))
    return found


def _grouped(rows: QuerySet[Any], moment: str) -> Any:
    return rows.order_by().values("queue").annotate(many=CountOf("pk"), oldest=Min(moment))


def _serving(queue: str, workers: Sequence[WorkerState]) -> int:
    return sum(not state.is_dead and serves(state.worker, queue) for state in workers)


# --- steps -----------------------------------------------------------------------------------------------------------


def slow_steps(now: datetime) -> tuple[list[StepShare], int]:
    """Durations and failures of the steps of the newest ended runs, by name, slowest first; and how many were read."""
    ended = _runs().filter(created_at__gte=now - 7 * DAY).exclude(status__in=sorted(ACTIVE_RUN))
    runs = list(ended.order_by("-created_at", "-id").values_list("pk", flat=True)[: STEPS // 8])
    rows = Step.objects.filter(run_id__in=runs, started_at__isnull=False)
    by_name: dict[str, list[tuple[float, str, bool, bool]]] = defaultdict(list)
    columns = ("name", "status", "failures", "started_at", "completed_at", "run_id")
    looked_at = 0
    for name, status, failures, started, completed, run_id in rows.values_list(*columns)[:STEPS]:
        looked_at += 1
        seconds = ((completed or now) - started).total_seconds()
        by_name[name].append((max(seconds, 0.0), run_id, status == StepStatus.FAILED, failures > 0))
    shares = [_step_share(name, times) for name, times in by_name.items()]
    return sorted(shares, key=lambda share: -share.p95)[:12], looked_at


def _step_share(name: str, times: list[tuple[float, str, bool, bool]]) -> StepShare:
    times.sort()
    return StepShare(
        name,
        len(times),
        sum(failed for *_, failed, _ in times),
        sum(retried for *_, retried in times),
        times[len(times) // 2][0],
        times[min(int(len(times) * 0.95), len(times) - 1)][0],
        times[-1][0],
        times[-1][1],
    )


def _longest_running() -> Any:
    rows = Step.objects.running().defer("input", "output", "error")
    return rows.order_by("started_at")[:8]
