"""Why a run does not continue, for ``api.explain``: what it waits for, and whether a worker is alive that could take it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..exceptions import RunNotFoundError
from ..models import Run, Step, Worker
from ..store import database
from . import waiting
from .text import short_name
from .workers import live_workers, serves

#: by what a run waits for; what is due is told apart by the workers that are alive
_CODES = {
    "blocked": "blocked",
    "cancelling": "running",
    "step": "running",
    "retry": "retry",
    "hook": "hook",
    "child": "child",
    "sleep": "sleep",
    "start": "not_due",
    "due": "due",
    "queued": "due",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that keeps a run from continuing.

    ``code``: ``running due not_due hook sleep retry child no_worker unknown_code blocked``. ``since``: in UTC, None where
    that is not known. ``details``: ``correlation_id`` of a step or sleep, ``run_id`` of a child, ``queue`` and ``name``
    of what no worker takes.
    """

    code: str
    sentence: str
    since: datetime | None = None
    details: dict[str, Any] = field(default_factory=dict)


def explain(run_id: str) -> list[Reason]:
    """Why the run does not continue, the most telling first; [] when it has ended. Raises ``RunNotFoundError``."""
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        raise RunNotFoundError(run_id)
    now = database.now()
    workers = live_workers(now)
    return [_reason(run, item, workers) for item in waiting.waits_for(run, now)]


def _reason(run: Run, item: waiting.Reason, workers: list[Worker]) -> Reason:
    if item.kind == "due" and (missing := _untaken(run.queue, run.workflow, workers, item, defines=True)):
        return missing
    if item.kind == "queued":
        steps = Step.objects.filter(run_id=run.pk, correlation_id=item.target)
        for queue, name in steps.values_list("queue", "name"):
            if missing := _untaken(queue, name, workers, item, defines=False):
                return missing
    text = f"waits for {item.text}" if item.kind in ("hook", "child") else item.text
    details = {"run_id": item.target} if item.kind == "child" else {"correlation_id": item.target}
    known = item.target and item.kind != "hook"  # a hook's token is a secret
    return Reason(_CODES[item.kind], f"{text[:1].upper()}{text[1:]}.", item.since, details if known else {})


def _untaken(queue: str, name: str, workers: list[Worker], item: waiting.Reason, *, defines: bool) -> Reason | None:
    """Why no worker takes it, if that is so. ``defines``: workers say which names of this kind their code has."""
    details = {"queue": queue, "name": name}
    fitting = [worker for worker in workers if serves(worker, queue)]
    if not fitting:
        sentence = f"No worker is alive for queue {queue}: {short_name(name)} waits for one."
        return Reason("no_worker", sentence, item.since, details)
    if defines and not any(name in worker.workflows for worker in fitting):
        return Reason("unknown_code", f"No live worker of queue {queue} knows {name}.", item.since, details)
    return None
