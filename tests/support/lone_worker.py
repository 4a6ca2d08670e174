"""A worker that only takes turns: the attempts that they begin are kept, not run."""

from __future__ import annotations

from django_workflows.authoring.registry import step_names, workflow_names
from django_workflows.store.claims import WorkerScope
from django_workflows.values import ids
from django_workflows.workers.attempts.attempts import Attempt
from django_workflows.workers.attempts.slots import Slots
from django_workflows.workers.link.watchdog import Watchdog
from django_workflows.workers.turn.advancer import Advancer


class Kept:
    """An executor's place: what it was given."""

    def __init__(self) -> None:
        self.begun: list[Attempt] = []

    def begin(self, attempt: Attempt) -> None:
        self.begun.append(attempt)

    def cancel(self, attempt: Attempt) -> None:
        attempt.cancelled = True


class LoneWorker:
    def __init__(self, slots: int, code_version: str = "v1") -> None:
        self.worker_id = ids.worker_id()
        self.scope = WorkerScope(None, tuple(workflow_names()), tuple(step_names()), code_version)
        self.slots = Slots(slots)
        self.watchdog = Watchdog()
        self.executor = Kept()
        self.advancer = Advancer(self)

    def wake(self) -> None:
        """There is no main loop."""
