"""Stalled work and its causes: questions to the tables, answered as findings for ``workflows doctor``.

Nothing here writes. The questions are about what is due, claimable, parked and alive: they do not slow down with
the number of runs that have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from django.db.models import Count, Min, Q
from django.utils import timezone

from .. import conf
from ..authoring.registry import find_step
from ..eventlog.statuses import TERMINAL_RUN
from ..models import Hook, Outbox, Run, Step, Worker
from ..store import database
from ..store.claims import workers_whose_process_ended
from ..values.durations import humanize
from .workers import OVERDUE_AFTER, Liveness, liveness, serves

#: seconds by which a worker's clock may differ from the database's
MAX_SKEW = 2.0
#: findings about single runs that are spelled out; the rest is counted
_SPELLED_OUT = 20


class Severity(StrEnum):
    """How grave a finding is."""

    ERROR = "error"  # stalled until a person acts
    WARNING = "warning"  # something is slower or less safe than it should be
    INFO = "info"  # worth knowing


@dataclass(frozen=True, slots=True)
class Finding:
    """``code`` is what machines test. ``sentence`` says what is the case, ``advice`` what to do about it."""

    code: str
    severity: Severity
    sentence: str
    advice: str
    run_ids: tuple[str, ...] = field(default=())

    @property
    def wrong(self) -> bool:
        return self.severity is not Severity.INFO


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The moment of the diagnosis: the database's time, and the workers that live or are silent."""

    now: datetime
    live: list[Worker]
    silent: list[Worker]
    #: ids of those whose process is known to have ended
    ended: frozenset[str] = frozenset()

    def serving(self, queue: str) -> list[Worker]:
        return [worker for worker in self.live if serves(worker, queue)]


def diagnose() -> list[Finding]:
    """All findings, the gravest first."""
    snapshot = take_snapshot()
    found = [finding for question in QUESTIONS for finding in question(snapshot)]
    return sorted(found, key=lambda finding: list(Severity).index(finding.severity))


def take_snapshot() -> Snapshot:
    """The workers as they are now."""
    now = database.now()
    live: list[Worker] = []
    silent: list[Worker] = []
    ended = workers_whose_process_ended()
    for worker in Worker.objects.alive().order_by("hostname", "pid"):
        (silent if liveness(worker, now, ended) is Liveness.DEAD else live).append(worker)
    return Snapshot(now, live, silent, ended)


# --- due, and not taken -----------------------------------------------------------------------------------------------


def find_unserved(snapshot: Snapshot) -> Iterator[Finding]:
    """Due runs and claimable steps in queues that no live worker serves."""
    waiting: dict[str, int] = {}
    due = Run.objects.due(snapshot.now).filter(blocked_reason="")
    claimable = Step.objects.claimable(snapshot.now)
    for rows in (due, claimable):
        for queue, count in rows.order_by().values_list("queue").annotate(Count("pk")):
            waiting[queue] = waiting.get(queue, 0) + count
    for queue, count in sorted(waiting.items()):
        if snapshot.serving(queue):
            continue
        things = f"{_count(count, 'run or step', 'runs and steps')} in queue {queue!r}"
        if snapshot.live:
            sentence = f"{things} wait, and no live worker serves that queue."
            advice = f"Start one: `manage.py workflows worker --queue {queue}`, or one without --queue for all of them."
            yield Finding("queue_unserved", Severity.ERROR, sentence, advice)
        else:
            advice = "Start one: `manage.py workflows worker`."
            yield Finding("no_worker", Severity.ERROR, f"{things} wait, and no worker is alive.", advice)


def find_unknown_workflows(snapshot: Snapshot) -> Iterator[Finding]:
    """Due runs of workflows that no live worker of their queue knows."""
    due = Run.objects.due(snapshot.now).order_by().values_list("workflow", "queue")
    for workflow, queue, count in due.annotate(Count("pk")).order_by("workflow", "queue"):
        serving = snapshot.serving(queue)
        if not serving or any(workflow in worker.workflows for worker in serving):
            continue
        yield Finding(
            "workflow_unknown",
            Severity.ERROR,
            f"{_count(count, 'run')} of {workflow} in queue {queue!r}: no live worker knows this workflow.",
            "Deploy code that defines it under this name (@workflow(name=…) keeps an old one) and restart the workers.",
            _ids(Run.objects.due(snapshot.now).filter(workflow=workflow, queue=queue)),
        )


def find_unknown_steps(snapshot: Snapshot) -> Iterator[Finding]:
    """Claimable steps that this code does not know and no worker has taken for a while."""
    late = snapshot.now - OVERDUE_AFTER
    rows = Step.objects.claimable(late).order_by().values_list("name", "queue")
    for name, queue, count in rows.annotate(Count("pk")).order_by("name", "queue"):
        if not snapshot.serving(queue) or find_step(name) is not None:
            continue
        yield Finding(
            "step_unknown",
            Severity.ERROR,
            f"{_count(count, 'step')} {name} in queue {queue!r} wait, and the code here does not know that step.",
            "Deploy code that defines it under this name (@step(name=…) keeps an old one), then restart the workers.",
        )


def find_overdue(snapshot: Snapshot) -> Iterator[Finding]:
    """Runs that are due although a worker that knows them is alive."""
    late = Run.objects.due(snapshot.now - OVERDUE_AFTER).filter(blocked_reason="")
    rows = late.order_by().values_list("queue", "workflow").annotate(Count("pk"), Min("wake_at"))
    for queue, workflow, count, since in rows.order_by("queue", "workflow"):
        if any(workflow in worker.workflows for worker in snapshot.serving(queue)):
            yield Finding(
                "run_overdue",
                Severity.WARNING,
                f"{_count(count, 'run')} of {workflow} in queue {queue!r} have been due for up to "
                f"{humanize(snapshot.now - since)}, although a worker that knows them is alive.",
                "The workers are overloaded or their connections hang: look at their logs, or start more of them.",
                _ids(late.filter(queue=queue, workflow=workflow)),
            )


def find_blocked(snapshot: Snapshot) -> Iterator[Finding]:
    """Runs parked because the code does not fit them."""
    blocked = Run.objects.blocked().order_by("created_at")
    runs = list(blocked[: _SPELLED_OUT + 1])
    for run in runs[:_SPELLED_OUT]:
        yield Finding(
            "run_blocked",
            Severity.ERROR,
            f"{run.id} ({run.workflow}) is parked: {run.blocked_reason}",
            "Deploy code that fits its log (or guard the change with patched()); it then continues by itself.",
            (run.id,),
        )
    if len(runs) > _SPELLED_OUT:
        count = blocked.count() - _SPELLED_OUT
        advice = "`manage.py workflows list --blocked` lists them."
        yield Finding("run_blocked", Severity.ERROR, f"{_count(count, 'more run')} parked.", advice)


# --- workers ---------------------------------------------------------------------------------------------------------


def find_silent_workers(snapshot: Snapshot) -> Iterator[Finding]:
    """Workers that have not said that they stop and give no sign of life."""
    for worker in snapshot.silent:
        count = Step.objects.running().filter(worker=worker).count()
        advice = "Live workers give its steps to others and close its row."
        if not snapshot.live:
            advice = "Start a worker: it gives the steps to others. `manage.py workflows worker`."
        yield Finding(
            "worker_silent",
            Severity.ERROR if count else Severity.WARNING,
            (
                f"The process of worker {worker} has ended"
                if worker.pk in snapshot.ended
                else f"Worker {worker} has been silent for {humanize(snapshot.now - worker.heartbeat_at)}"
            )
            + (f" and has {_count(count, 'step')} running." if count else "."),
            advice,
        )


def find_unsaved_results(snapshot: Snapshot) -> Iterator[Finding]:
    """Results that workers keep because the database refuses them, as of their last heartbeat."""
    for worker in (*snapshot.live, *snapshot.silent):
        if not worker.unsaved or worker.unsaved_since is None:
            continue
        waiting = "1 result waits" if worker.unsaved == 1 else f"{worker.unsaved} results wait"
        since = timezone.localtime(worker.unsaved_since)
        yield Finding(
            "results_unsaved",
            Severity.ERROR,
            f"{waiting} to be saved since {since:%H:%M:%S} on worker {worker}: {worker.unsaved_reason}.",
            "Have the database take writes again; they are then saved by themselves. If the worker ends before, their steps "
            "are run again.",
        )


def find_orphaned_steps(snapshot: Snapshot) -> Iterator[Finding]:
    """Running steps whose worker has no row, or one that says it stopped."""
    known = Worker.objects.alive().values("pk")
    running = Step.objects.running()
    orphans = running.filter(Q(worker_id__isnull=True) | ~Q(worker_id__in=known))
    count = orphans.count()
    if count:
        yield Finding(
            "step_orphaned",
            Severity.ERROR,
            f"{_count(count, 'step')} said to be running, on workers that are gone.",
            "A live worker gives them to others within a minute."
            if snapshot.live
            else "Start a worker: it gives them to others. `manage.py workflows worker`.",
            tuple(orphans.values_list("run_id", flat=True)[:_SPELLED_OUT]),
        )


def find_clock_skew(snapshot: Snapshot) -> Iterator[Finding]:
    """Live workers whose wall clock differs from the database's by more than ``MAX_SKEW``."""
    for worker in snapshot.live:
        if abs(worker.clock_skew) > MAX_SKEW:
            side = "ahead of" if worker.clock_skew > 0 else "behind"
            yield Finding(
                "clock_skew",
                Severity.WARNING,
                f"The clock of worker {worker} is {abs(worker.clock_skew):.1f} s {side} the database's.",
                "Runs are not hurt, they live by the database's clock; but steps see the wrong time. Set up NTP there.",
            )


def find_deaf_workers(snapshot: Snapshot) -> Iterator[Finding]:
    """PostgreSQL workers that cannot LISTEN, or whose lock proves nothing."""
    if not database.is_postgresql():
        return
    untrusted = [worker for worker in snapshot.live if not worker.lock_trusted]
    deaf = [worker for worker in snapshot.live if worker.lock_trusted and not worker.listening and conf.settings.LISTEN]
    if untrusted:
        timeout = humanize(timedelta(seconds=conf.settings.HEARTBEAT_TIMEOUT))
        yield Finding(
            "lock_untrusted",
            Severity.WARNING,
            f"{_names(untrusted)}: advisory locks prove nothing on this connection, as behind a transaction pooler. "
            f"LISTEN does not work there, and the death of a worker shows only after {timeout}.",
            "Set DJANGO_WORKFLOWS['LISTEN_DATABASE'] to an alias with PostgreSQL's own address.",
        )
    if deaf:
        yield Finding(
            "not_listening",
            Severity.WARNING,
            f"{_names(deaf)}: LISTEN does not work; what is due is found every POLL_INTERVAL.",
            "Look at the worker's log; set LISTEN_DATABASE to an alias with PostgreSQL's own address.",
        )


def find_mixed_code(snapshot: Snapshot) -> Iterator[Finding]:
    """Live workers that run different versions of the code."""
    versions = sorted({worker.code_version for worker in snapshot.live})
    if len(versions) > 1:
        yield Finding(
            "code_versions",
            Severity.INFO,
            f"Live workers run {len(versions)} versions of the code: {', '.join(versions)}.",
            "Normal during a deploy. Afterwards, restart the workers that were forgotten.",
        )


# --- rows that should not be -----------------------------------------------------------------------------------------


def find_leftovers(snapshot: Snapshot) -> Iterator[Finding]:
    """What a crash of an older version or a partial restore may have left."""
    hooks = Hook.objects.active().filter(run__status__in=sorted(TERMINAL_RUN))
    count = hooks.count()
    if count:
        yield Finding(
            "hook_of_ended_run",
            Severity.WARNING,
            f"{_count(count, 'hook')} still active, of runs that have ended.",
            "They receive nothing and give up their tokens when another run asks; `workflows verify` says which.",
            tuple(hooks.values_list("run_id", flat=True)[:_SPELLED_OUT]),
        )
    late = Outbox.objects.filter(created_at__lt=snapshot.now - OVERDUE_AFTER)
    count = late.count()
    if count:
        yield Finding(
            "outbox_late",
            Severity.ERROR if not snapshot.live else Severity.WARNING,
            f"{_count(count, 'message')} between parents and children not delivered for more than {humanize(OVERDUE_AFTER)}.",
            "Workers deliver them: start one, or look at the logs of those that run.",
            tuple(late.values_list("run_id", flat=True)[:_SPELLED_OUT]),
        )


Question = Callable[[Snapshot], Iterable[Finding]]

QUESTIONS: tuple[Question, ...] = (
    find_unserved,
    find_unknown_workflows,
    find_unknown_steps,
    find_blocked,
    find_silent_workers,
    find_unsaved_results,
    find_orphaned_steps,
    find_overdue,
    find_clock_skew,
    find_deaf_workers,
    find_mixed_code,
    find_leftovers,
)


def _count(number: int, what: str, several: str | None = None) -> str:
    return f"{number} {what if number == 1 else several or what + 's'}"


def _names(workers: list[Worker]) -> str:
    named = ", ".join(str(worker) for worker in workers[:3])
    return f"Worker {named}" if len(workers) == 1 else f"Workers {named}" + ("…" if len(workers) > 3 else "")


def _ids(rows: object) -> tuple[str, ...]:
    return tuple(rows.values_list("pk", flat=True)[:_SPELLED_OUT])  # type: ignore[attr-defined]
