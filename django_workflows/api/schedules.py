"""Schedules that are made at run time, and what one does with any schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async

from ..authoring.handles import RunHandle
from ..authoring.registry import find_workflow
from ..authoring.schedules import ScheduleSpec
from ..authoring.workflows import Workflow
from ..exceptions import ScheduleNotFoundError
from ..models import Schedule
from ..schedules import backfill, rows, timing
from ..services.contexts import capture_context
from ..store import database
from ..store.transactions import in_transaction
from ..values.cron import preview
from ..values.durations import Duration

#: instants that one preview shows
MOST_PREVIEWED = 10_000


class ScheduleHandle:
    """A schedule, by its name. Handles of the same schedule are equal; each property reads the row anew.

    Every verb raises ``ScheduleNotFoundError`` when the schedule is gone, and has an ``a``-twin.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def row(self) -> Schedule:
        """The :class:`~django_workflows.models.Schedule` as it is now."""
        found = Schedule.objects.filter(name=self.name).first()
        if found is None:
            raise ScheduleNotFoundError(self.name)
        return found

    @property
    def next_at(self) -> datetime | None:
        """The next instant, in UTC and without its jitter; None when it never fires again."""
        found: datetime | None = self.row.next_at
        return found

    @property
    def paused_at(self) -> datetime | None:
        found: datetime | None = self.row.paused_at
        return found

    @property
    def paused_reason(self) -> str:
        return self.row.paused_reason

    def pause(self, reason: str = "") -> None:
        """No ticks until :meth:`resume`; those that come meanwhile are not made up. Deploys and restarts keep it."""
        in_transaction(rows.pause_schedule)(self.name, reason)

    def resume(self) -> None:
        """Go on from now. Of a schedule that is not paused: nothing."""
        in_transaction(rows.resume_schedule)(self.name)

    def trigger(self) -> RunHandle[Any]:
        """Start a run now, also while the schedule is paused or an earlier run is active."""
        return RunHandle(in_transaction(rows.trigger_schedule)(self.name))

    def preview(self, count: int = 10) -> list[datetime]:
        """The next instants, in UTC and without their jitter, as if the schedule were not paused. At most 10,000."""
        row = self.row
        return preview(timing.times_of(row), database.now(), min(count, MOST_PREVIEWED))

    def backfill(self, since: datetime, until: datetime) -> list[RunHandle[Any]]:
        """Make the ticks of ``since <= instant < until`` that were not made, all of them, whatever the overlap.

        In transactions of 500 each, so not inside ``transaction.atomic()`` where it is to be seen growing. Repeating it
        makes nothing twice. Raises ``ValueError`` for a span that is empty, in the future or holds over 100,000 ticks.
        """
        return [RunHandle(run_id) for run_id in backfill.backfill(self.name, since, until)]

    def update(self, **changes: Any) -> None:
        """Change the definition: the keywords of :func:`create_schedule`. What is left out stays.

        A tick whose time has come is still made as it was defined. Raises ``EntityConflictError`` for a schedule that
        is declared in the code, ``TypeError`` and ``ValueError`` as :func:`create_schedule`.
        """
        in_transaction(rows.update_schedule)(self.name, changes)

    def delete(self) -> None:
        """Remove the schedule; its runs stay. Raises ``EntityConflictError`` for one that is declared in the code."""
        in_transaction(rows.delete_schedule)(self.name)

    apause = sync_to_async(pause)
    aresume = sync_to_async(resume)
    atrigger = sync_to_async(trigger)
    apreview = sync_to_async(preview)
    abackfill = sync_to_async(backfill)
    aupdate = sync_to_async(update)
    adelete = sync_to_async(delete)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScheduleHandle) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<ScheduleHandle {self.name}>"


def create_schedule(
    name: str,
    workflow: Workflow[..., Any] | str,
    *,
    cron: str | None = None,
    every: Duration | None = None,
    tz: str | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    overlap: str = "skip",
    catchup: str = "latest",
    catchup_window: Duration | None = None,
    jitter: Duration = 0,
    pause_on_failure: bool = False,
    options: Mapping[str, Any] | None = None,
) -> ScheduleHandle:
    """Start ``workflow`` at the times of ``cron`` (in ``tz``; None: ``TIME_ZONE``) or ``every`` interval from now on.

    Joins the caller's transaction. The same name with the same definition returns what is there.

    ``overlap``, when a tick meets a run that has not ended: ``skip``, ``queue`` (one waits), ``queue_all``, ``cancel``
    or ``allow``. ``catchup``, for ticks that no worker was there for: ``latest`` makes the newest one up, ``all`` each of
    them, ``none`` none; those older than ``catchup_window`` are left out. ``jitter``: each tick is late by up to so much.
    ``options``: those of ``.using()``.

    Raises:
        ValueError: something cannot be used; the message says all that. EntityConflictError: the name has another
        definition. SerializationError is among the first: arguments are stored.
    """
    definition = workflow if isinstance(workflow, Workflow) else find_workflow(workflow)
    if definition is None:
        raise ValueError(f"No workflow is called {workflow!r} here.")
    spec = ScheduleSpec(
        cron=cron,
        every=every,
        tz=tz,
        args=args,
        kwargs={} if kwargs is None else kwargs,
        overlap=overlap,
        catchup=catchup,
        catchup_window=catchup_window,
        jitter=jitter,
        pause_on_failure=pause_on_failure,
        options={} if options is None else options,
    )
    in_transaction(rows.create_schedule)(name, definition, spec, capture_context())
    return ScheduleHandle(name)


def get_schedule(name: str) -> ScheduleHandle:
    """Raises ``ScheduleNotFoundError``."""
    handle = ScheduleHandle(name)
    assert handle.row is not None
    return handle


def list_schedules(workflow: str | None = None) -> list[ScheduleHandle]:
    """All schedules, or those of one workflow, by name."""
    found = Schedule.objects.all() if workflow is None else Schedule.objects.filter(workflow=workflow)
    return [ScheduleHandle(name) for name in found.order_by("name").values_list("name", flat=True)]


acreate_schedule = sync_to_async(create_schedule)
aget_schedule = sync_to_async(get_schedule)
alist_schedules = sync_to_async(list_schedules)
