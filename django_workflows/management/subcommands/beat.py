"""``workflows schedules --from-beat``: what Celery beat has, as schedules of workflows.

``CELERY_BEAT_SCHEDULE`` is read from the settings and the tables of django-celery-beat through its models. Celery itself
is not needed; its objects are read by their attributes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.conf import settings

from django_workflows.api import schedules
from django_workflows.authoring.registry import find_workflow, workflow_names
from django_workflows.exceptions import WorkflowError

from ..console import Console
from ..values import clean

_PERIODIC_TASK = ("django_celery_beat", "PeriodicTask")


@dataclass(slots=True)
class Entry:
    """One entry of beat. ``problem``: why it has no equal here; empty where it has one."""

    name: str
    task: str
    definition: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def from_beat(console: Console, *, create: bool) -> int:
    """Print the entries; with ``create``, create those that have an equal. Exit code 1 if any has none."""
    entries = [*_from_settings(), *_from_tables()]
    failed = 0
    for entry in entries:
        problem = entry.problem or (_create(entry) if create else _target(entry)[1])
        failed += bool(problem)
        console.line(_line(entry, problem, created=create))
    if not entries:
        console.line("Celery beat has no entries: neither CELERY_BEAT_SCHEDULE nor django-celery-beat's tables.")
    return 1 if failed else 0


def _line(entry: Entry, problem: str, *, created: bool) -> str:
    if problem:
        return clean(f"# {entry.name}: {problem}")
    if created:
        return clean(f"{entry.name}: created")
    given = ", ".join(f"{key}={value!r}" for key, value in entry.definition.items())
    return clean(f"api.create_schedule({entry.name!r}, {_target(entry)[0]!r}, {given})")


def _target(entry: Entry) -> tuple[str, str]:
    """The workflow that stands in for the task: the one of the same name, or of the same last part. Else why not."""
    if find_workflow(entry.task) is not None:
        return entry.task, ""
    last = entry.task.rpartition(".")[2]
    same = [name for name in workflow_names() if name.rpartition(".")[2] == last]
    if len(same) == 1:
        return same[0], ""
    return "", f"no workflow is called {entry.task!r} or ends in {last!r}; write one and run this again"


def _create(entry: Entry) -> str:
    workflow, problem = _target(entry)
    if problem:
        return problem
    try:
        schedules.create_schedule(entry.name, workflow, **entry.definition)
    except (ValueError, TypeError, WorkflowError) as error:
        return str(error)
    return ""


def _from_settings() -> Iterator[Entry]:
    given = getattr(settings, "CELERY_BEAT_SCHEDULE", None) or getattr(settings, "CELERYBEAT_SCHEDULE", None) or {}
    for name, item in given.items():
        entry = Entry(str(name), str(item.get("task", "")))
        when, entry.problem = _when(item.get("schedule"))
        options: Mapping[str, Any] = item.get("options") or {}
        entry.definition = {**when, **_arguments(item.get("args"), item.get("kwargs"), options.get("queue"))}
        yield entry


def _when(schedule: Any) -> tuple[dict[str, Any], str]:
    """``cron=``/``every=`` of a beat schedule, or why there is none."""
    if isinstance(schedule, timedelta):
        return {"every": schedule.total_seconds()}, ""
    if isinstance(schedule, int | float):
        return {"every": float(schedule)}, ""
    if hasattr(schedule, "_orig_minute"):  # celery.schedules.crontab
        names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
        return {"cron": " ".join(str(getattr(schedule, f"_orig_{name}")).replace(" ", "") for name in names)}, ""
    run_every = getattr(schedule, "run_every", None)  # celery.schedules.schedule
    if isinstance(run_every, timedelta):
        return {"every": run_every.total_seconds()}, ""
    return {}, f"a {type(schedule).__name__} has no equal here"


def _arguments(args: Any, kwargs: Any, queue: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if args:
        found["args"] = tuple(args)
    if kwargs:
        found["kwargs"] = dict(kwargs)
    if queue:
        found["options"] = {"queue": queue}
    return found


def _from_tables() -> Iterator[Entry]:
    if not apps.is_installed("django_celery_beat"):
        return
    import json

    model: Any = apps.get_model(*_PERIODIC_TASK)
    for task in model._default_manager.filter(enabled=True):
        entry = Entry(task.name, task.task)
        when: dict[str, Any] = {}
        if task.crontab is not None:
            cron = task.crontab
            fields = (cron.minute, cron.hour, cron.day_of_month, cron.month_of_year, cron.day_of_week)
            when = {"cron": " ".join(str(part).replace(" ", "") for part in fields), "tz": str(cron.timezone)}
        elif task.interval is not None:
            when = {"every": timedelta(**{task.interval.period: task.interval.every}).total_seconds()}
        else:
            entry.problem = "a solar or one-off schedule has no equal here"
        args, kwargs = json.loads(task.args or "[]"), json.loads(task.kwargs or "{}")
        entry.definition = {**when, **_arguments(args, kwargs, task.queue)}
        yield entry
