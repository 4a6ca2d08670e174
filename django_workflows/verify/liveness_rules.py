"""Rules 8 to 10: nothing is overdue without an owner, streams are dense, deliveries are kept once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from .. import conf
from ..eventlog import events
from ..inspection.workers import OVERDUE_AFTER, Liveness, live_workers, liveness, serves
from ..models import Step, Worker
from .violation import Subject, Violation


def check_wake(subject: Subject) -> Iterator[Violation]:
    """Rule 8: what time makes due is due by the run's row, too, or no worker would ever look."""
    run = subject.run
    if subject.ended:
        if run.wake_at is not None:
            yield subject.violation(8, "the run has ended and would still be woken")
        return
    if run.status == "pending" and run.wake_at is None:
        yield subject.violation(8, "the run has not begun and nothing would ever wake it")
    due = [(wait.due_at, wait.correlation_id) for wait in subject.waits if wait.status == "waiting"]
    if run.deadline_at is not None and run.timed_out_at is None and run.cancel_requested_at is None:
        due.append((run.deadline_at, "its deadline"))
    # An arrival makes the run due at its own time, which may be later than that of a wait which is overdue already.
    if due and (run.wake_at is None or run.wake_at > max(min(due)[0], subject.now)):
        yield subject.violation(8, f"{min(due)[1]} is due at {min(due)[0].isoformat()} and nothing would wake the run")


def check_owner(subject: Subject) -> Iterator[Violation]:
    """Rule 8: nothing that a live worker should have taken long ago is still there."""
    run = subject.run
    if subject.ended or run.blocked_reason:
        return
    patience = OVERDUE_AFTER + timedelta(seconds=conf.settings.POLL_INTERVAL)
    if _is_overdue(run.wake_at, subject.now - patience) and _workers(subject, run.queue):
        yield subject.violation(8, f"the run has been due since {run.wake_at and run.wake_at.isoformat()}")
    dead = timedelta(seconds=conf.settings.HEARTBEAT_TIMEOUT) + patience
    for step in subject.steps:
        if (
            step.status == "pending"
            and _is_overdue(step.available_at, subject.now - dead)
            and _is_idle(subject, step.queue)
        ):
            yield subject.violation(
                8, f"{step.correlation_id} has been claimable since {step.available_at.isoformat()}"
            )
        elif (
            step.status == "running"
            and _is_gone(step.worker_id, subject.now - patience)
            and _workers(subject, step.queue)
        ):
            yield subject.violation(8, f"{step.correlation_id} is running on worker {step.worker_id}, which is gone")
        elif step.status == "running" and _is_unheld(subject, step):
            yield subject.violation(
                8, f"{step.correlation_id} is said to be running on worker {step.worker_id}, which holds no step"
            )


def _is_overdue(moment: datetime | None, since: datetime) -> bool:
    return moment is not None and moment < since


def _workers(subject: Subject, queue: str) -> list[Worker]:
    """Live workers that should take this run, or its steps, from the queue."""
    live = live_workers(subject.now)
    return [worker for worker in live if subject.run.workflow in worker.workflows and serves(worker, queue)]


def _is_idle(subject: Subject, queue: str) -> bool:
    """Whether a worker of this queue has room: a step may wait for long where all slots are taken."""
    return any(worker.load < worker.concurrency for worker in _workers(subject, queue))


def _is_gone(worker_id: str | None, at: datetime) -> bool:
    """Whether the worker was dead at that time, so that others have had the time since then to give its steps away."""
    worker = Worker.objects.filter(pk=worker_id).first()
    if worker is None:
        return True
    if worker.stopped_at is not None:
        return bool(worker.stopped_at < at - timedelta(seconds=conf.settings.HEARTBEAT_TIMEOUT))
    return liveness(worker, at) is Liveness.DEAD


def _is_unheld(subject: Subject, step: Step) -> bool:
    """Whether the step's worker lives and has said, long after it began the step, that it runs and keeps none.

    A worker compares its rows with what it holds at every look, and gives away what it does not hold.
    """
    started = [event.at for event in subject.of(step.correlation_id) if event.type == events.StepStarted.type]
    looks = timedelta(seconds=conf.settings.HEARTBEAT_INTERVAL + 3 * conf.settings.POLL_INTERVAL)
    idle = Worker.objects.alive().filter(pk=step.worker_id, load=0, unsaved=0)
    return bool(started) and idle.filter(heartbeat_at__gt=started[-1] + looks).exists()


def check_streams(subject: Subject) -> Iterator[Violation]:
    """Rule 9: chunks are numbered densely from 0, and nothing is written after the end of the stream."""
    for span in subject.streams:
        stream = span.stream
        if span.chunks != stream.next_index or (span.lowest not in (0, None)):
            yield subject.violation(
                9, f"stream {stream.name!r} has {span.chunks} chunks, its row counts {stream.next_index}"
            )
        if span.highest is not None and span.highest >= span.next_index_after:
            yield subject.violation(9, f"stream {stream.name!r} has a chunk {span.highest} beyond its end")
        if stream.closed_at is not None and span.last_chunk_at is not None and span.last_chunk_at > stream.closed_at:
            yield subject.violation(9, f"stream {stream.name!r} has a chunk that is younger than its end")


def check_deliveries(subject: Subject) -> Iterator[Violation]:
    """Rule 10: each delivery is in the log once; an idempotency key occurs once for a hook, in event and column."""
    seen: dict[tuple[str, str], int] = {}
    for event in subject.created(events.HookReceived.type):
        key = event.record.payload["idempotency_key"]
        if key != event.idempotency_key:
            yield subject.violation(10, f"event {event.sequence} has another idempotency key than its row")
        if key is None:
            continue
        first = seen.setdefault((event.record.correlation_id, key), event.sequence)
        if first != event.sequence:
            yield subject.violation(10, f"event {event.sequence} repeats the delivery of event {first}")


RULES = (check_wake, check_owner, check_streams, check_deliveries)
