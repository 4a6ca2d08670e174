"""Storing transitions through the ORM: the readable reference, and the way on SQLite."""

from __future__ import annotations

from collections.abc import Sequence

from ..exceptions import FenceConflictError
from ..models import Event, Run, Step, Wait
from .rows import StepRow, WaitRow
from .transition import Transition

_HEAD_CHANGES = ("last_sequence", "last_event_at", "wake_at")
_ALL_CHANGES = (
    *_HEAD_CHANGES,
    "status",
    "output",
    "error",
    "error_code",
    "attributes",
    "code_version",
    "started_at",
    "completed_at",
    "deadline_at",
    "cancel_requested_at",
    "timed_out_at",
    "expires_at",
    "life",
    "blocked_reason",
    "blocked_until",
    "blocked_count",
    "blocked_version",
)
_STEP = (
    "status",
    "output",
    "error",
    "attempt",
    "failures",
    "losses",
    "available_at",
    "worker_id",
    "started_at",
    "completed_at",
)


def write(transitions: Sequence[Transition]) -> None:
    """Store each transition; the fence holds here too, should a lock have been missed.

    Raises:
        FenceConflictError: a run's log has grown since it was read.
    """
    for transition in transitions:
        _write_run(transition)
        Event.objects.bulk_create(_events(transition))
        Step.objects.bulk_create([_step(row) for row in transition.new_steps.values()])
        Wait.objects.bulk_create([_wait(row) for row in transition.new_waits.values()])
        for step in transition.changed_steps.values():
            changes = {name: getattr(step, name) for name in _STEP}
            Step.objects.filter(pk=step.id).update(**changes)
        for wait in transition.changed_waits.values():
            Wait.objects.filter(pk=wait.id).update(status=wait.status, completed_at=wait.completed_at)


def _write_run(transition: Transition) -> None:
    run = transition.run
    names = _ALL_CHANGES if transition.run_changed else _HEAD_CHANGES
    updated = Run.objects.filter(
        pk=run.id, last_sequence=transition.expected_sequence, last_event_at=transition.expected_at
    ).update(**{name: getattr(run, name) for name in names})
    if not updated:
        raise FenceConflictError(run.id, transition.expected_sequence)


def _events(transition: Transition) -> list[Event]:
    return [
        Event(
            run_id=transition.run.id,
            sequence=row.record.sequence,
            type=row.record.type,
            correlation_id=row.record.correlation_id,
            data=row.record.data,
            idempotency_key=row.idempotency_key,
            life=row.life,
            created_at=row.record.created_at,
        )
        for row in transition.events
    ]


def _step(row: StepRow) -> Step:
    return Step(**{name: getattr(row, name) for name in StepRow.__slots__})


def _wait(row: WaitRow) -> Wait:
    return Wait(**{name: getattr(row, name) for name in WaitRow.__slots__})
