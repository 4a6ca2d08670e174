"""Rows from a log: what the columns of a run, its steps, waits and hooks say by the fold, inserted or put right.

One way for all who have events and need rows: forks, imported histories, repair.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ..eventlog import events
from ..eventlog.events import Record
from ..eventlog.fold import Fold, FoldedEntity, FoldedStep
from ..eventlog.records import raw_fields, reencode
from ..exceptions import RunCancelledError
from ..models import Event, Hook, Run, Step, Wait
from ..serialization import Encoded
from ..services.creation import NewRun
from ..store.rows import RunRow
from ..values.ids import hook_id, step_id, wait_id

_BATCH = 500

Columns = dict[str, Any]


# --- the run ---------------------------------------------------------------------------------------------------------


def new_run_of(created: Record, **others: Any) -> NewRun:
    """What the run of this ``run_created`` started with; ``others`` are fields of :class:`NewRun` in place of its."""
    made = raw_fields(created)
    given: Columns = {
        "workflow": made["workflow"],
        "input": _input_of(made),
        "queue": made["queue"],
        "priority": made["priority"],
        "attributes": created.payload["attributes"] or {},
        "idempotency_key": made["idempotency_key"],
        "parent_id": made["parent"],
        "forked_from": made.get("forked_from") or "",
        "continued_from": made.get("continued_from") or "",
        "scheduled_at": created.payload.get("scheduled_at"),
        "context": None if made.get("context") is None else reencode(made["context"]),
        "seed": made["seed"],
    }
    return NewRun(**{**given, **others})


def run_columns(folded: Fold) -> Columns:
    """What the columns of the run that change after its creation say. ``folded`` is of a log with an event."""
    assert folded.last is not None
    return {
        "status": folded.status,
        "attributes": folded.attributes,
        "started_at": _time_of(folded.started),
        "completed_at": _time_of(folded.terminal),
        "cancel_requested_at": _time_of(folded.cancel_requested),
        "timed_out_at": _time_of(folded.timed_out),
        "last_sequence": folded.last.sequence,
        "last_event_at": folded.last.created_at,
        "life": folded.life,
        **_end_columns(folded.terminal),
    }


def _end_columns(terminal: Record | None) -> Columns:
    """The payloads are NULL where the event has null, but for the output of a run that completed."""
    said = {} if terminal is None else raw_fields(terminal)
    completed = terminal is not None and terminal.type == events.RunCompleted.type
    cancelled = terminal is not None and terminal.type == events.RunCancelled.type
    return {
        "output": reencode(said["output"]) if completed else _or_null(said.get("output")),
        "error": _or_null(said.get("error")),
        "error_code": RunCancelledError.code if cancelled else said.get("error_code", ""),
    }


# --- entities --------------------------------------------------------------------------------------------------------


def step_columns(step: FoldedStep) -> Columns:
    """What the columns of a step that change after its creation say."""
    completed = step.ended is not None and step.ended.type == events.StepCompleted.type
    return {
        "status": step.status,
        "attempt": step.attempt,
        "failures": step.failures,
        "losses": step.losses,
        "worker_id": step.worker,
        "output": reencode(raw_fields(step.ended)["output"]) if step.ended is not None and completed else None,
        "error": None if step.failed is None else reencode(raw_fields(step.failed)["error"]),
        "available_at": step.available_at,
        "started_at": step.started_at,
        "completed_at": step.ended_at,
    }


def new_step(run: Run | RunRow, correlation_id: str, step: FoldedStep) -> Step:
    made = raw_fields(step.created)
    return Step(
        id=step_id(),
        run_id=run.id,
        correlation_id=correlation_id,
        name=made["name"],
        input=_input_of(made),
        queue=made["queue"],
        priority=run.priority,
        created_at=step.created.created_at,
        **step_columns(step),
    )


def wait_columns(wait: FoldedEntity) -> Columns:
    return {"status": wait.status, "completed_at": wait.ended_at}


def new_wait(run: Run | RunRow, correlation_id: str, wait: FoldedEntity) -> Wait:
    return Wait(
        id=wait_id(),
        run_id=run.id,
        correlation_id=correlation_id,
        due_at=wait.created.payload["due_at"],
        created_at=wait.created.created_at,
        **wait_columns(wait),
    )


def hook_columns(hook: FoldedEntity) -> Columns:
    return {"disposed_at": hook.ended_at}


def new_hook(run: Run | RunRow, correlation_id: str, hook: FoldedEntity, options: Any = None) -> Hook:
    """``options`` are not in the log; they are the original's where there is one."""
    made = raw_fields(hook.created)
    return Hook(
        id=hook_id(),
        run_id=run.id,
        correlation_id=correlation_id,
        token=made["token"],
        is_webhook=made["is_webhook"],
        metadata=reencode(made["metadata"]),
        options=options,
        created_at=hook.created.created_at,
        **hook_columns(hook),
    )


# --- inserting -------------------------------------------------------------------------------------------------------


def insert_events(run_id: str, rows: Iterable[tuple[Record, int, str | None]]) -> None:
    """Store records as they are: (record, life, idempotency key)."""
    Event.objects.bulk_create(
        (
            Event(
                run_id=run_id,
                sequence=record.sequence,
                type=record.type,
                correlation_id=record.correlation_id,
                data=record.data,
                idempotency_key=key,
                life=life,
                created_at=record.created_at,
            )
            for record, life, key in rows
        ),
        batch_size=_BATCH,
    )


def insert_entities(run: Run, folded: Fold, options: dict[str, Any] | None = None) -> None:
    """The steps, waits and hooks that the log calls for. ``options`` of hooks: by correlation id.

    Raises:
        IntegrityError: another run has the token of an open hook.
    """
    Step.objects.bulk_create([new_step(run, *item) for item in folded.steps.items()], batch_size=_BATCH)
    Wait.objects.bulk_create([new_wait(run, *item) for item in folded.waits.items()], batch_size=_BATCH)
    hooks = sorted(folded.hooks.items(), key=lambda item: raw_fields(item[1].created)["token"])
    for key, hook in hooks:  # in the order of tokens, so that two who take over the same ones cannot deadlock
        Hook.objects.bulk_create([new_hook(run, key, hook, (options or {}).get(key))])


def _input_of(made: dict[str, Any]) -> Encoded:
    return reencode({"args": made["args"], "kwargs": made["kwargs"]})


def _or_null(value: Any) -> Encoded | None:
    return None if value is None else reencode(value)


def _time_of(record: Record | None) -> datetime | None:
    return None if record is None else record.created_at
