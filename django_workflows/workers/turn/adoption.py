"""After a commit whose answer was lost: what the rows say that this worker has started."""

from __future__ import annotations

from collections.abc import Callable

from ...authoring.registry import find_step
from ...models import Step
from ...store import locking
from ...store.transactions import atomic
from ..attempts.attempts import Attempt, attempt_of
from .advancer import Advancer


def adopt_started(advancer: Advancer, begin: Callable[[Attempt], None]) -> int:
    """Begin attempts that are recorded as started by this worker and were never begun. Returns how many.

    The process itself knows what it has begun, and nobody else starts steps in its name; so an attempt that is neither in
    hand nor waiting to be recorded has never run.
    """
    with advancer.paused():
        known = advancer.known_steps()
        rows = Step.objects.running().filter(worker_id=advancer.worker_id)
        orphans = [(pk, run_id) for pk, run_id in rows.values_list("pk", "run_id") if pk not in known]
        count = 0
        for step_id, run_id in orphans:
            attempt = _adopt(advancer, run_id, step_id)
            if attempt is not None:
                advancer.in_hand[step_id] = attempt
                begin(attempt)
                count += 1
        return count


def _adopt(advancer: Advancer, run_id: str, step_id: str) -> Attempt | None:
    with atomic():
        locked = locking.lock_run(run_id)
        step = locking.read_step(locked, step_id)
        definition = find_step(step.name) if step is not None else None
        if step is None or definition is None or step.worker_id != advancer.worker_id:
            return None
        advancer.slots.free_slot(-1)
        return attempt_of(step, locked.run, definition, advancer.worker_id)
