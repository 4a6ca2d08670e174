"""Half-written states, put right from the log.

Transitions are all or nothing, so that no crash leaves a half. What does: a partial restore, a hand in the tables, an
older version with a bug. The events decide: a row without its event is removed, an event without its row gets one, a row
that says something else is corrected. Nothing is ever changed in the log, except that a run without ``run_created`` gets
it. All of it happens under the run's lock, so that repairing twice, or at the same time, does nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Max

from ..eventlog.events import Record, RunCreated
from ..eventlog.fold import Fold, FoldedStep, encoded, fold, parts
from ..eventlog.statuses import RunStatus, StepStatus, WaitStatus
from ..models import Event, Hook, Outbox, Run, Step, Stream, StreamChunk, Wait
from ..serialization import Encoded
from ..services import creation, outbox
from ..services.creation import NewRun
from ..store import database, event_log, locking
from ..store.transition import Transition
from ..values import ids

_ENDS = {"run_completed": RunStatus.COMPLETED, "run_failed": RunStatus.FAILED, "run_cancelled": RunStatus.CANCELLED}


def repair_run(run_id: str) -> list[str]:
    """Make one run's tables say what its log says. Returns a sentence for each thing that was wrong; none is fine.

    Raises:
        RunNotFoundError: there is no such run. CorruptedEventLogError: events are missing in its middle, which nothing
            can replace.
    """
    locked = locking.lock_run(run_id)
    done: list[str] = []
    log = event_log.read(run_id)
    if not log:
        log = [_write_created(locked)]
        done.append("it had no event at all: run_created was written from its row")
    folded = fold(log)
    known = set(folded.steps) | set(folded.waits) | set(folded.hooks)
    if folded.left_out is not None:
        known |= set(folded.left_out.steps) | set(folded.left_out.waits) | set(folded.left_out.hooks)
    for model in (Step, Wait, Hook):
        done += _remove_unknown(model, run_id, known)
    done += _repair_steps(locked, folded)
    done += _repair_waits(locked, folded)
    done += _repair_hooks(locked, folded)
    done += _repair_children(locked, folded)
    done += _repair_streams(run_id)
    done += _repair_row(locked, folded, log, touched=bool(done))
    return done


def _objects(model: Any) -> Any:
    return model._default_manager


def _write_created(locked: Transition) -> Record:
    row = _objects(Run).get(pk=locked.run.id)
    event = RunCreated(
        workflow=row.workflow,
        args=row.input["args"],
        kwargs=row.input["kwargs"],
        queue=row.queue,
        priority=row.priority,
        attributes=row.attributes,
        idempotency_key=row.idempotency_key,
        parent=row.parent_id,
        seed=row.seed,
        forked_from=row.forked_from or None,
        continued_from=row.continued_from or None,
    )
    record = Record(1, event.type, "", event.encode(), row.created_at)
    _objects(Event).create(run=row, sequence=1, type=event.type, data=record.data, created_at=record.created_at)
    return record


def _remove_unknown(model: Any, run_id: str, known: Iterable[str]) -> list[str]:
    """Rows whose creation is not in the log: nobody decided them, and the body may decide them still."""
    rows = _objects(model).filter(run_id=run_id).exclude(correlation_id__in=known)
    names = sorted(rows.values_list("correlation_id", flat=True))
    rows.delete()
    return [f"{name} had a row and no event" for name in names]


# --- the run's own row -----------------------------------------------------------------------------------------------


def _repair_row(locked: Transition, folded: Fold, log: list[Record], *, touched: bool) -> list[str]:
    run, last, end = locked.run, log[-1], folded.terminal
    status = RunStatus.PENDING if folded.started is None else RunStatus.RUNNING
    if end is not None:
        status = _ENDS[end.type]
    expected: dict[str, Any] = {
        "status": status,
        "last_sequence": last.sequence,
        "last_event_at": last.created_at,
        "started_at": None if folded.started is None else folded.started.created_at,
        "completed_at": None if end is None else end.created_at,
        "attributes": folded.attributes,
        "life": sum(record.type == "run_retried" for record in log),
    }
    wrong = sorted(name for name, value in expected.items() if getattr(run, name) != value)
    if not wrong and not touched:
        return []
    if end is None:
        expected.update(output=None, error=None, error_code="", wake_at=locked.now)
    else:
        said = parts(end)
        expected["wake_at"] = None
        expected["output"] = _payload(said.get("output"))
        expected["error"] = _payload(said.get("error"))
        expected["error_code"] = said.get("error_code", "run_cancelled" if end.type == "run_cancelled" else "")
    for name, kind in (("cancel_requested_at", "run_cancel_requested"), ("timed_out_at", "run_timed_out")):
        expected[name] = _since_retry(log, kind)
    _objects(Run).filter(pk=run.id).update(**expected)
    return [f"its row had another {', '.join(wrong)} than its log"] if wrong else []


def _since_retry(log: list[Record], type: str) -> Any:
    for record in reversed(log):
        if record.type == type:
            return record.created_at
        if record.type == "run_retried":
            return None
    return None


def _payload(value: Any) -> Encoded | None:
    return None if value is None else encoded(value)


# --- entities --------------------------------------------------------------------------------------------------------


def _repair_steps(locked: Transition, folded: Fold) -> list[str]:
    rows = {row.correlation_id: row for row in _objects(Step).filter(run_id=locked.run.id)}
    done = []
    for name, step in folded.steps.items():
        columns = _step_columns(step, folded)
        row = rows.get(name)
        if row is None:
            created = parts(step.created)
            _objects(Step).create(
                id=ids.step_id(),
                run_id=locked.run.id,
                correlation_id=name,
                name=created["name"],
                input=encoded({"args": created["args"], "kwargs": created["kwargs"]}),
                queue=created["queue"],
                priority=locked.run.priority,
                created_at=step.created.created_at,
                **columns,
            )
            done.append(f"{name} had an event and no row")
        elif (row.status, row.attempt) != (columns["status"], columns["attempt"]) and not _is_reopened(row, folded):
            _objects(Step).filter(pk=row.pk).update(**columns)
            done.append(f"{name} was {row.status} ({row.attempt} attempts), its log says {columns['status']}")
    return done


def _is_reopened(row: Step, folded: Fold) -> bool:
    """A retry of the run puts its failed step back to pending; what the step was before is not in the kept log."""
    return folded.left_out is not None and row.status == StepStatus.PENDING


def _step_columns(step: FoldedStep, folded: Fold) -> dict[str, Any]:
    status, completed_at = step.status, None if step.ended is None else step.ended.created_at
    if status == StepStatus.PENDING and folded.terminal is not None:
        status, completed_at = StepStatus.CANCELLED, folded.terminal.created_at
    output = parts(step.ended)["output"] if step.ended is not None and step.ended.type == "step_completed" else None
    has_output = step.ended is not None and step.ended.type == "step_completed"
    return {
        "status": status,
        "attempt": step.attempt,
        "failures": step.failures,
        "losses": step.losses,
        "worker_id": step.worker,
        "output": encoded(output) if has_output else None,
        "error": None if step.failed is None else encoded(parts(step.failed)["error"]),
        "available_at": step.available_at or step.created.created_at,
        "started_at": step.started_at,
        "completed_at": completed_at,
    }


def _repair_waits(locked: Transition, folded: Fold) -> list[str]:
    rows = {row.correlation_id: row for row in _objects(Wait).filter(run_id=locked.run.id)}
    done = []
    for name, wait in folded.waits.items():
        status, completed_at = wait.status, wait.completed_at
        if status == WaitStatus.WAITING and folded.terminal is not None:
            status, completed_at = WaitStatus.CANCELLED, folded.terminal.created_at
        row = rows.get(name)
        if row is None:
            _objects(Wait).create(
                id=ids.wait_id(),
                run_id=locked.run.id,
                correlation_id=name,
                status=status,
                due_at=wait.created.payload["due_at"],
                created_at=wait.created.created_at,
                completed_at=completed_at,
            )
            done.append(f"{name} had an event and no row")
        elif row.status != status:
            _objects(Wait).filter(pk=row.pk).update(status=status, completed_at=completed_at)
            done.append(f"{name} was {row.status}, its log says {status}")
    return done


def _repair_hooks(locked: Transition, folded: Fold) -> list[str]:
    rows = {row.correlation_id: row for row in _objects(Hook).filter(run_id=locked.run.id)}
    done = []
    for name, hook in folded.hooks.items():
        disposed_at = hook.disposed_at
        if disposed_at is None and folded.terminal is not None:
            disposed_at = folded.terminal.created_at
        row, created = rows.get(name), parts(hook.created)
        if disposed_at is None and (owner := _other_owner(locked, created["token"])):
            done.append(f"{name} cannot have its token back: {owner} has won it meanwhile")
            disposed_at = locked.now
        if row is None:
            _objects(Hook).create(
                id=ids.hook_id(),
                run_id=locked.run.id,
                correlation_id=name,
                token=created["token"],
                is_webhook=created["is_webhook"],
                metadata=encoded(created["metadata"]),
                options=None,
                created_at=hook.created.created_at,
                disposed_at=disposed_at,
            )
            done.append(f"{name} had an event and no row")
        elif (row.disposed_at is None) != (disposed_at is None):
            _objects(Hook).filter(pk=row.pk).update(disposed_at=disposed_at)
            done.append(f"{name} was {'active' if row.disposed_at is None else 'disposed'} against its log")
    return done


def _other_owner(locked: Transition, token: str) -> str | None:
    holder = _objects(Hook).active().filter(token=token).exclude(run_id=locked.run.id).first()
    return None if holder is None else str(holder.run_id)


# --- other runs, streams ---------------------------------------------------------------------------------------------


def _repair_children(locked: Transition, folded: Fold) -> list[str]:
    """Children that the log started and that are not there; ends of runs that nobody told their parents."""
    done = []
    for name, child in folded.children.items():
        if child.ended is not None or folded.terminal is not None:
            continue
        said = parts(child.started)
        row = _objects(Run).filter(pk=said["child"]).first()
        if row is None:
            creation.create_runs(
                [
                    NewRun(
                        id=said["child"],
                        workflow=said["workflow"],
                        input=encoded({"args": said["args"], "kwargs": said["kwargs"]}),
                        queue=locked.run.queue,
                        parent_id=locked.run.id,
                        parent_correlation_id=name,
                    )
                ]
            )
            done.append(f"{name} had an event and no run")
        elif row.completed_at is not None and not _objects(Outbox).filter(run_id=row.pk, target=locked.run.id).exists():
            outbox.queue_child_ended_again(row.pk, locked.run.id, locked.now)
            done.append(f"{name} has ended and its parent was not told")
    return done


def _repair_streams(run_id: str) -> list[str]:
    done = []
    last = dict(_objects(StreamChunk).filter(run_id=run_id).values_list("stream").annotate(last=Max("index")))
    for stream in _objects(Stream).filter(run_id=run_id).select_for_update():
        following = last.pop(stream.name, -1) + 1
        if stream.next_index < following:
            _objects(Stream).filter(pk=stream.pk).update(next_index=following)
            done.append(f"the stream {stream.name!r} would have given a number twice")
    for name, index in last.items():
        _objects(Stream).create(run_id=run_id, name=name, next_index=index + 1, created_at=database.now())
        done.append(f"the stream {name!r} had chunks and no row")
    return done
