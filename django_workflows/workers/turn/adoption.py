"""After a commit whose answer was lost: what the rows say that this worker has started."""

from __future__ import annotations

from ...authoring.registry import find_step
from ...models import Step
from ...store import locking
from ...store.transactions import atomic
from ..attempts.attempts import Attempt, attempt_of
from .advancer import Advancer


def adopt_started_attempts(advancer: Advancer) -> int:
    """Begin attempts that are recorded as started by this worker and were never begun. Returns how many.

    The process itself knows what it has begun, and no other starts steps in its name; so an attempt that is neither in
    flight nor waits to be recorded has never run.
    """
    worker_id = advancer.worker.worker_id
    with advancer.paused():
        known = advancer.known_steps()
        rows = Step.objects.running().filter(worker_id=worker_id)
        unknown = [(pk, run_id) for pk, run_id in rows.values_list("pk", "run_id") if pk not in known]
        found = [attempt for pk, run_id in unknown if (attempt := _started_attempt(run_id, pk, worker_id)) is not None]
        advancer.begin_adopted(found)
    return len(found)


def _started_attempt(run_id: str, step_id: str, worker_id: str) -> Attempt | None:
    """The attempt as its row says, read again under the run's lock; None: it is not this worker's any more."""
    with atomic():
        locked = locking.lock_run(run_id)
        step = locking.read_step(locked, step_id)
        definition = find_step(step.name) if step is not None else None
        if step is None or definition is None or step.worker_id != worker_id:
            return None
        return attempt_of(step, locked.run, definition, worker_id)
