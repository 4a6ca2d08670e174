"""What the code declares, written to the database when a worker starts.

The worker that started last decides: its start is noted in the row, and one that started earlier leaves the row alone. So
two live versions do not write over each other's declarations in turn.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime

from django.db import transaction

from ..authoring.registry import find_workflow, workflow_names
from ..authoring.schedules import ScheduleSpec, declared_name
from ..authoring.workflows import Workflow
from ..models import Schedule, Worker
from ..store import database
from . import rows, ticks, timing

logger = logging.getLogger(__name__)

GONE = "no longer declared"


def declarations() -> Iterator[tuple[str, Workflow[..., object], ScheduleSpec]]:
    """The schedules of the workflows that this process knows, by name."""
    for workflow_name in workflow_names():
        workflow = find_workflow(workflow_name)
        assert workflow is not None
        for spec in workflow.schedules:
            yield declared_name(workflow.name, spec), workflow, spec


def synchronise(started_at: datetime) -> None:
    """Write what the code declares, and pause what it declares no longer. ``started_at``: of the calling worker.

    A declaration that cannot be used is passed over with an ERROR; the system checks say the same before a deploy.
    """
    declared = set()
    for name, workflow, spec in declarations():
        declared.add(name)
        if problems := list(spec.problems(workflow, rows.default_zone())):
            logger.error("The schedule %s is not kept: %s", name, " ".join(problems))
            continue
        with transaction.atomic(using=database.alias()):
            _write(name, workflow, spec, started_at)
    _pause_the_gone(declared, started_at)


def _write(name: str, workflow: Workflow[..., object], spec: ScheduleSpec, started_at: datetime) -> None:
    now = database.now()
    row = Schedule.objects.filter(name=name).select_for_update(of=("self",)).first()
    if row is None:
        row = Schedule(name=name, created_at=now, declared=True, declared_at=started_at)
        rows.fill(row, workflow, spec, epoch=now)
        timing.set_next(row, now)
        Schedule.objects.bulk_create([row], ignore_conflicts=True)
        return
    if row.declared_at is not None and row.declared_at >= started_at:
        return
    if _differs(row, workflow, spec, now):
        rows.redefine(row, workflow, spec, now)
    if row.paused_by == "code":
        rows.resume(row, now)
    row.declared, row.declared_at = True, started_at
    row.save()


def _differs(row: Schedule, workflow: Workflow[..., object], spec: ScheduleSpec, now: datetime) -> bool:
    wanted = Schedule(name=row.name, spec=row.spec)
    rows.fill(wanted, workflow, spec, epoch=now)
    return rows.definition_of(wanted) != rows.definition_of(row)


def _pause_the_gone(declared: set[str], started_at: datetime) -> None:
    """Schedules of workflows that this code knows, or that no live worker knows, and that it does not declare."""
    known = set(workflow_names())
    elsewhere = {name for names in Worker.objects.alive().values_list("workflows", flat=True) for name in names}
    rest = Schedule.objects.filter(declared=True, paused_at__isnull=True, declared_at__lt=started_at)
    for name, workflow in rest.exclude(name__in=declared).values_list("name", "workflow"):
        if workflow not in known and workflow in elsewhere:
            continue
        with transaction.atomic(using=database.alias()):
            row = Schedule.objects.filter(name=name, paused_at__isnull=True).select_for_update(of=("self",)).first()
            if row is not None and row.declared_at is not None and row.declared_at < started_at:
                row.declared_at = started_at
                row.save(update_fields=["declared_at"])
                ticks.pause(row, database.now(), GONE, by="code")
