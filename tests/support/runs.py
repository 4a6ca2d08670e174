"""Runs made and moved by hand, through the services: no worker, no body."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django_workflows.eventlog.commands import CompleteRun
from django_workflows.models import Event, Run
from django_workflows.serialization import Encoded, dumps
from django_workflows.services import creation, hooks, runs, steps, waits
from django_workflows.services.creation import NewRun
from django_workflows.store import locking
from django_workflows.store.rows import StepRow, WaitRow
from django_workflows.store.transactions import atomic
from django_workflows.store.transition import Transition
from django_workflows.store.write import write

#: a workflow that no code defines, so that no worker of another test ever touches it
UNKNOWN = "tests.by_hand"
INPUT = Encoded('{"args":[1],"kwargs":{}}')


def new_run(**options: Any) -> str:
    """The id of a new run; options are those of ``NewRun``."""
    given = {"workflow": UNKNOWN, "input": INPUT, "queue": "default", **options}
    (run_id,) = creation.create_runs([NewRun(**given)])
    return run_id


@contextmanager
def transition(run_id: str) -> Iterator[Transition]:
    """One transition: locked, read, and written at the end of the block."""
    with atomic():
        locked = locking.lock_whole_run(run_id)
        yield locked
        write([locked])


def started_run(**options: Any) -> str:
    run_id = new_run(**options)
    with transition(run_id) as t:
        runs.start_run(t, None, "v1")
    return run_id


def add_step(t: Transition, number: int = 1, name: str = "tests.work") -> StepRow:
    return steps.create_step(t, f"step:work:{number}", name, INPUT, t.run.queue)


def add_wait(t: Transition, number: int = 1, seconds: float = 3600.0) -> WaitRow:
    return waits.create_wait(t, f"wait:{number}", t.now + timedelta(seconds=seconds))


def add_hook(t: Transition, token: str, number: int = 1) -> None:
    hooks.create_hook(t, f"hook:{number}", token, is_webhook=False, metadata=Encoded("null"), options=Encoded("{}"))


def running_step(run_id: str, worker_id: str | None = None) -> StepRow:
    """A step of the run, created and started."""
    with transition(run_id) as t:
        step = add_step(t, 1 + len(t.entities.steps))
        steps.start_step(t, step, worker_id)
    return step


def end(t: Transition, output: object = None) -> None:
    runs.end_run(t, CompleteRun("", output=dumps(output)))


def types(run_id: str) -> list[str]:
    """The types of a run's events, in order."""
    return list(Event.objects.filter(run_id=run_id).order_by("sequence").values_list("type", flat=True))


def run_row(run_id: str) -> Run:
    return Run.objects.get(pk=run_id)
