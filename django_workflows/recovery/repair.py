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

from ..eventlog.events import Record
from ..eventlog.fold import Fold, fold
from ..eventlog.records import raw_fields, reencode
from ..models import Hook, Outbox, Run, Step, Stream, StreamChunk, Wait
from ..serialization import dumps
from ..services import creation, outbox
from ..services.creation import NewRun
from ..store import database, event_log, locking
from ..store.transition import Transition
from . import rebuild

#: columns that are not read under the lock
_UNREAD = ("output", "error")


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
    for model in (Step, Wait, Hook):
        done += _remove_unknown(model, run_id, known)
    done += _repair_steps(locked, folded)
    done += _repair_waits(locked, folded)
    done += _repair_hooks(locked, folded)
    done += _repair_children(locked, folded)
    done += _repair_streams(run_id)
    done += _repair_row(locked, folded, touched=bool(done))
    return done


def _write_created(locked: Transition) -> Record:
    row = Run.objects.get(pk=locked.run.id)
    new = NewRun(
        id=row.pk,
        workflow=row.workflow,
        input=dumps(row.input),
        queue=row.queue,
        priority=row.priority,
        attributes=row.attributes,
        idempotency_key=row.idempotency_key,
        parent_id=row.parent_id,
        seed=row.seed,
        forked_from=row.forked_from,
        continued_from=row.continued_from,
    )
    event = new.created_event()
    record = Record(1, event.type, "", event.encode(), row.created_at)
    rebuild.insert_events(row.pk, [(record, 0, None)])
    return record


def _remove_unknown(model: Any, run_id: str, known: Iterable[str]) -> list[str]:
    """Rows whose creation is not in the log: the body never decided them, or may do so yet."""
    rows = model.objects.filter(run_id=run_id).exclude(correlation_id__in=known)
    names = sorted(rows.values_list("correlation_id", flat=True))
    rows.delete()
    return [f"{name} had a row and no event" for name in names]


# --- the run's own row -----------------------------------------------------------------------------------------------


def _repair_row(locked: Transition, folded: Fold, *, touched: bool) -> list[str]:
    run, expected = locked.run, rebuild.run_columns(folded)
    wrong = sorted(name for name, value in expected.items() if name not in _UNREAD and getattr(run, name) != value)
    if not wrong and not touched:
        return []
    expected["wake_at"] = locked.now if folded.terminal is None else None
    Run.objects.filter(pk=run.id).update(**expected)
    return [f"its row had another {', '.join(wrong)} than its log"] if wrong else []


# --- entities --------------------------------------------------------------------------------------------------------


def _repair_steps(locked: Transition, folded: Fold) -> list[str]:
    rows = {row.correlation_id: row for row in Step.objects.filter(run_id=locked.run.id)}
    done = []
    for name, step in folded.steps.items():
        columns = rebuild.step_columns(step)
        row = rows.get(name)
        if row is None:
            Step.objects.bulk_create([rebuild.new_step(locked.run, name, step)])
            done.append(f"{name} had an event and no row")
        elif (row.status, row.attempt) != (columns["status"], columns["attempt"]):
            Step.objects.filter(pk=row.pk).update(**columns)
            done.append(f"{name} was {row.status} ({row.attempt} attempts), its log says {columns['status']}")
    return done


def _repair_waits(locked: Transition, folded: Fold) -> list[str]:
    rows = {row.correlation_id: row for row in Wait.objects.filter(run_id=locked.run.id)}
    done = []
    for name, wait in folded.waits.items():
        row = rows.get(name)
        if row is None:
            Wait.objects.bulk_create([rebuild.new_wait(locked.run, name, wait)])
            done.append(f"{name} had an event and no row")
        elif row.status != wait.status:
            Wait.objects.filter(pk=row.pk).update(**rebuild.wait_columns(wait))
            done.append(f"{name} was {row.status}, its log says {wait.status}")
    return done


def _repair_hooks(locked: Transition, folded: Fold) -> list[str]:
    rows = {row.correlation_id: row for row in Hook.objects.filter(run_id=locked.run.id)}
    done = []
    for name, hook in folded.hooks.items():
        wanted = rebuild.new_hook(locked.run, name, hook)
        if wanted.disposed_at is None and (owner := _other_owner(locked, wanted.token)):
            done.append(f"{name} cannot have its token back: {owner} has won it meanwhile")
            wanted.disposed_at = locked.now
        row = rows.get(name)
        if row is None:
            Hook.objects.bulk_create([wanted])
            done.append(f"{name} had an event and no row")
        elif (row.disposed_at is None) != (wanted.disposed_at is None):
            Hook.objects.filter(pk=row.pk).update(disposed_at=wanted.disposed_at)
            done.append(f"{name} was {'active' if row.disposed_at is None else 'disposed'} against its log")
    return done


def _other_owner(locked: Transition, token: str) -> str | None:
    holder = Hook.objects.active().filter(token=token).exclude(run_id=locked.run.id).first()
    return None if holder is None else str(holder.run_id)


# --- other runs, streams ---------------------------------------------------------------------------------------------


def _repair_children(locked: Transition, folded: Fold) -> list[str]:
    """Children that the log started and that are not there; ends that their parents were not notified of."""
    done = []
    for name, child in folded.children.items():
        if child.ended is not None or folded.terminal is not None:
            continue
        said = raw_fields(child.created)
        row = Run.objects.filter(pk=said["child"]).first()
        if row is None:
            creation.create_runs(
                [
                    NewRun(
                        id=said["child"],
                        workflow=said["workflow"],
                        input=reencode({"args": said["args"], "kwargs": said["kwargs"]}),
                        queue=locked.run.queue,
                        parent_id=locked.run.id,
                        parent_correlation_id=name,
                    )
                ]
            )
            done.append(f"{name} had an event and no run")
        elif row.completed_at is not None and not Outbox.objects.filter(run_id=row.pk, target=locked.run.id).exists():
            outbox.queue_child_ended_again(row.pk, locked.run.id, locked.now)
            done.append(f"{name} has ended and its parent was not notified")
    return done


def _repair_streams(run_id: str) -> list[str]:
    done = []
    last = dict(StreamChunk.objects.filter(run_id=run_id).values_list("stream").annotate(last=Max("index")))
    for stream in Stream.objects.filter(run_id=run_id).select_for_update():
        following = last.pop(stream.name, -1) + 1
        if stream.next_index < following:
            Stream.objects.filter(pk=stream.pk).update(next_index=following)
            done.append(f"the stream {stream.name!r} would have given a number twice")
    for name, index in last.items():
        Stream.objects.create(run_id=run_id, name=name, next_index=index + 1, created_at=database.now())
        done.append(f"the stream {name!r} had chunks and no row")
    return done
