"""Storing transitions through the ORM: the readable reference, and the way on SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..exceptions import FenceConflictError
from ..models import Event, Run, Step, Wait
from .columns import names, without
from .rows import RUN_HEAD, RUN_ORIGIN, STEP_ORIGIN, WAIT_ORIGIN, RunRow, StepRow, WaitRow
from .transition import Transition

_ALL_CHANGES = tuple(column.name for column in without(RunRow, *RUN_ORIGIN))
_STEP, _WAIT = names(StepRow), names(WaitRow)
_STEP_CHANGES = tuple(column.name for column in without(StepRow, *STEP_ORIGIN))
_WAIT_CHANGES = tuple(column.name for column in without(WaitRow, *WAIT_ORIGIN))


def write(transitions: Sequence[Transition]) -> None:
    """Store each transition; the fence holds here too, should a lock have been missed.

    Raises:
        FenceConflictError: a run's log has grown since it was read.
    """
    for transition in transitions:
        _write_run(transition)
        Event.objects.bulk_create(_events(transition))
        Step.objects.bulk_create([Step(**_values(row, _STEP)) for row in transition.new_steps.values()])
        Wait.objects.bulk_create([Wait(**_values(row, _WAIT)) for row in transition.new_waits.values()])
        for step in transition.changed_steps.values():
            Step.objects.filter(pk=step.id).update(**_values(step, _STEP_CHANGES))
        for wait in transition.changed_waits.values():
            Wait.objects.filter(pk=wait.id).update(**_values(wait, _WAIT_CHANGES))


def _write_run(transition: Transition) -> None:
    run = transition.run
    changes = _ALL_CHANGES if transition.run_changed else RUN_HEAD
    updated = Run.objects.filter(
        pk=run.id, last_sequence=transition.expected_sequence, last_event_at=transition.expected_at
    ).update(**_values(run, changes))
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


def _values(row: object, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}
