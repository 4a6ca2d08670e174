"""Rows from a log: a run made of events that exist already, be they another run's or an exported history's."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ..eventlog.events import Record
from ..eventlog.fold import Fold, FoldedStep, encoded, parts
from ..eventlog.statuses import TERMINAL_STEP, StepStatus, WaitStatus
from ..models import Event, Hook, Run, Step, Wait
from ..serialization import Encoded
from ..values.ids import hook_id, step_id, wait_id

_BATCH = 500


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


def insert_entities(run: Run, fold: Fold, *, closed_at: datetime | None, options: dict[str, Any] | None = None) -> None:
    """The steps, waits and hooks that the log calls for. ``closed_at``: when the run's end closed what was open.

    ``options`` of hooks, by correlation id, are not in the log; they are the originals' where there are some.
    """
    if fold.left_out is not None:
        insert_entities(run, fold.left_out, closed_at=fold.cut_off_at, options=options)
    Step.objects.bulk_create([_step(run, key, step, closed_at) for key, step in fold.steps.items()], batch_size=_BATCH)
    Wait.objects.bulk_create(
        [
            Wait(
                id=wait_id(),
                run_id=run.id,
                correlation_id=key,
                status=WaitStatus.CANCELLED if closed_at and wait.status == WaitStatus.WAITING else wait.status,
                due_at=wait.created.payload["due_at"],
                created_at=wait.created.created_at,
                completed_at=wait.completed_at or closed_at,
            )
            for key, wait in fold.waits.items()
        ],
        batch_size=_BATCH,
    )
    for key, hook in fold.hooks.items():
        made = parts(hook.created)
        Hook.objects.create(
            id=hook_id(),
            run_id=run.id,
            correlation_id=key,
            token=made["token"],
            is_webhook=made["is_webhook"],
            metadata=encoded(made["metadata"]),
            options=(options or {}).get(key),
            created_at=hook.created.created_at,
            disposed_at=hook.disposed_at or closed_at,
        )


def _step(run: Run, correlation_id: str, step: FoldedStep, closed_at: datetime | None) -> Step:
    made = parts(step.created)
    ended = parts(step.ended) if step.ended is not None else {}
    failed = parts(step.failed) if step.failed is not None else {}
    status = step.status
    cut_off = closed_at is not None and status not in TERMINAL_STEP
    return Step(
        id=step_id(),
        run_id=run.id,
        correlation_id=correlation_id,
        name=made["name"],
        status=StepStatus.CANCELLED if cut_off else status,
        input=encoded({"args": made["args"], "kwargs": made["kwargs"]}),
        output=encoded(ended["output"]) if "output" in ended else None,
        error=encoded(failed["error"]) if failed else None,
        attempt=step.attempt,
        failures=step.failures,
        losses=step.losses,
        queue=made["queue"],
        priority=run.priority,
        available_at=step.available_at or step.created.created_at,
        worker_id=step.worker,
        created_at=step.created.created_at,
        started_at=step.started_at,
        completed_at=step.ended.created_at if step.ended is not None else closed_at,
    )


def output_of(terminal: Record | None) -> tuple[Encoded | None, Encoded | None, str]:
    """Output, error and error code as the run's row holds them after this terminal event."""
    if terminal is None:
        return None, None, ""
    found = parts(terminal)
    output, error = found.get("output"), found.get("error")
    code = {"run_failed": found.get("error_code", ""), "run_cancelled": "run_cancelled"}.get(terminal.type, "")
    if terminal.type == "run_completed":
        return encoded(output), None, code
    return None if output is None else encoded(output), None if error is None else encoded(error), code
