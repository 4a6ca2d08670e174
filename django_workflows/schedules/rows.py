"""Creating, changing and removing schedules. Each verb locks the row and requires its caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings as django_settings

from ..authoring.registry import find_workflow
from ..authoring.schedules import ScheduleSpec, Startable, check_schedule_name
from ..exceptions import EntityConflictError, ScheduleNotFoundError
from ..models import Schedule, ScheduleTick
from ..serialization import canonical, dumps
from ..store import database
from ..values import durations
from ..values.cron import find_zone
from ..values.ids import new_ulid
from . import ticks, timing

#: the columns that say when and how a schedule fires
_DEFINITION = ("workflow", "spec", "tz", "overlap", "catchup", "catchup_window", "jitter", "pause_on_failure")


def default_zone() -> str:
    """The project's ``TIME_ZONE``."""
    return str(django_settings.TIME_ZONE or "UTC")


def lock_schedule(name: str) -> Schedule:
    """Raises ScheduleNotFoundError."""
    database.require_transaction()
    found = Schedule.objects.filter(name=name).select_for_update(of=("self",)).first()
    if found is None:
        raise ScheduleNotFoundError(name)
    return found


def require_valid(spec: ScheduleSpec, workflow: Startable) -> None:
    """Raise ``ValueError`` with all that is wrong."""
    if found := list(spec.problems(workflow, default_zone())):
        raise ValueError(" ".join(found))


def create_schedule(name: str, workflow: Startable, spec: ScheduleSpec, context: Any = None) -> Schedule:
    """A new schedule, whose first tick is the first instant after now. The same definition again returns what is there.

    Raises:
        ValueError: the name or the definition cannot be used. EntityConflictError: the name has another definition.
    """
    check_schedule_name(name)
    require_valid(spec, workflow)
    now = database.now()
    row = Schedule(name=name, created_at=now, context=context)
    fill(row, workflow, spec, epoch=now)
    timing.set_next(row, now)
    (made,) = Schedule.objects.bulk_create([row], ignore_conflicts=True)
    found = lock_schedule(name)
    if not _same(found, made):
        raise EntityConflictError(
            f"A schedule is called {name!r} already, and is defined otherwise. Use another name, or change it with "
            "get_schedule(name).update(...)."
        )
    return found


def fill(row: Schedule, workflow: Startable, spec: ScheduleSpec, *, epoch: datetime) -> None:
    """Write a valid definition into a row; ``epoch`` is where an interval that is new here is counted from."""
    row.workflow = workflow.name
    row.spec = _spec(row, spec, epoch)
    row.tz = find_zone(spec.tz or default_zone()).key
    row.input = {"args": list(spec.args), "kwargs": dict(spec.kwargs)}
    row.options = dict(spec.options)
    row.overlap, row.catchup = spec.overlap, spec.catchup
    row.catchup_window = None if spec.window is None else spec.window.total_seconds()
    row.jitter = spec.spread.total_seconds()
    row.pause_on_failure = bool(spec.pause_on_failure)


def _spec(row: Schedule, spec: ScheduleSpec, epoch: datetime) -> dict[str, Any]:
    if spec.cron is not None:
        return {"cron": " ".join(spec.cron.split())}
    assert spec.every is not None
    known = (row.spec or {}).get("epoch")
    return {"every": durations.seconds(spec.every), "epoch": known or epoch.replace(microsecond=0).isoformat()}


def definition_of(row: Schedule) -> tuple[Any, ...]:
    """What two schedules must have in common to be the same: all but the moment from which an interval counts."""
    spec = {key: value for key, value in row.spec.items() if key != "epoch"}
    columns = (spec if name == "spec" else getattr(row, name) for name in _DEFINITION)
    return (*columns, canonical(dumps(row.input)), canonical(dumps(row.options)))


def _same(one: Schedule, other: Schedule) -> bool:
    return definition_of(one) == definition_of(other)


def spec_of(row: Schedule) -> ScheduleSpec:
    """The row's definition as it would be declared."""
    return ScheduleSpec(
        cron=row.spec.get("cron"),
        every=row.spec.get("every"),
        tz=row.tz,
        args=row.input["args"],
        kwargs=row.input["kwargs"],
        overlap=row.overlap,
        catchup=row.catchup,
        catchup_window=row.catchup_window,
        jitter=row.jitter,
        pause_on_failure=row.pause_on_failure,
        options=row.options,
    )


def update_schedule(name: str, changes: Mapping[str, Any]) -> Schedule:
    """Change a schedule that was not declared in the code. A tick whose time has come is made as it was defined then.

    Raises:
        ScheduleNotFoundError; EntityConflictError: it is declared in the code, which would change it back.
        TypeError: an unknown keyword. ValueError: the new definition cannot be used.
    """
    row = lock_schedule(name)
    if row.declared:
        raise EntityConflictError(f"The schedule {name!r} is declared in the code; change it there.")
    spec = _changed(spec_of(row), changes)
    workflow = find_workflow(row.workflow)
    if workflow is None:
        raise ValueError(f"No workflow is called {row.workflow!r} here: do this where it is defined.")
    require_valid(spec, workflow)
    redefine(row, workflow, spec, database.now())
    row.save()
    return row


def redefine(row: Schedule, workflow: Startable, spec: ScheduleSpec, now: datetime) -> None:
    """Write a new definition into a locked row. The tick that is under way keeps its instant; the next is the new one."""
    fill(row, workflow, spec, epoch=now)
    if row.next_at is None or row.next_at > now:
        timing.set_next(row, now)


_CHANGEABLE = frozenset(column.name for column in fields(ScheduleSpec)) - {"name"}


def _changed(spec: ScheduleSpec, changes: Mapping[str, Any]) -> ScheduleSpec:
    if unknown := sorted(changes.keys() - _CHANGEABLE):
        raise TypeError(f"update() has no keyword {unknown[0]!r}. It has: {', '.join(sorted(_CHANGEABLE))}.")
    given = dict(changes)
    if given.get("cron") is not None:
        given.setdefault("every", None)
    elif given.get("every") is not None:
        given.setdefault("cron", None)
    return replace(spec, **given)


def pause_schedule(name: str, reason: str) -> Schedule:
    """No ticks until it is resumed; those that come meanwhile are not made up. A schedule that is paused stays so."""
    row = lock_schedule(name)
    if row.paused_at is None or row.paused_by != "person":
        ticks.pause(row, database.now(), reason, by="person")
    return row


def resume_schedule(name: str) -> Schedule:
    """Go on from now. Failures of runs that have ended meanwhile do not pause it again."""
    row = lock_schedule(name)
    if row.paused_at is not None:
        resume(row, database.now())
        row.save()
    return row


def resume(row: Schedule, now: datetime) -> None:
    """Lift the pause of a locked row."""
    row.paused_at, row.paused_reason, row.paused_by = None, "", ""
    failed = ScheduleTick.objects.filter(schedule=row, open=True, run__status="failed")
    failed.update(open=False)
    timing.set_next(row, now)


def delete_schedule(name: str) -> None:
    """Remove a schedule and its ticks; runs that it has made stay.

    Raises:
        ScheduleNotFoundError; EntityConflictError: it is declared in the code, which would create it again.
    """
    row = lock_schedule(name)
    if row.declared:
        raise EntityConflictError(
            f"The schedule {name!r} is declared in the code and would come back. Remove it there, or pause it."
        )
    row.delete()


def trigger_schedule(name: str) -> str:
    """Make a run now, paused or not, whatever else is under way. Returns the run's id."""
    row = lock_schedule(name)
    now = database.now()
    run_id = ticks.make_run(row, now, key=f"schedule:{name}:trigger:{new_ulid()}")
    ScheduleTick.objects.create(schedule=row, at=now, run_id=run_id, open=True, created_at=now)
    row.save(update_fields=["last_at", "last_run"])
    return run_id


def overdue(row: Schedule, now: datetime, patience: timedelta) -> bool:
    """Whether the schedule should have fired longer ago than ``patience``."""
    return row.paused_at is None and row.due_at is not None and now - row.due_at > patience
