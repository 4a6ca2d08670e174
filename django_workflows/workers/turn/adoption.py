"""Attempts that are recorded as this worker's and that it does not hold: begun if they never were, otherwise lost."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ...authoring.registry import find_step
from ...services import steps
from ...store import locking
from ...store.claims import Running
from ...store.transactions import atomic
from ...store.write import write
from ..attempts.attempts import Attempt, attempt_of
from .advancer import Advancer

logger = logging.getLogger("django_workflows.worker")


def settle_unheld(advancer: Advancer, unheld: Sequence[Running]) -> int:
    """Bring the worker and its rows together again. Returns how many attempts were begun or lost.

    A number is begun once. The process knows what it has begun, and no other starts steps in its name; so an attempt that
    it has not begun has never run: the answer to the commit that started it was lost. One that it has begun, and whose
    outcome is not here any more, is a lost attempt, and what follows is the next number.
    """
    worker_id, settled = advancer.worker.worker_id, 0
    for running in unheld:
        if advancer.has_begun(running.step_id, running.attempt):
            settled += _lose(running, worker_id)
            continue
        with advancer.paused():
            if (attempt := _started_attempt(running, worker_id)) is not None:
                advancer.begin_adopted([attempt])
                settled += 1
    return settled


def _started_attempt(running: Running, worker_id: str) -> Attempt | None:
    """The attempt as its row says, read again under the run's lock; None: it is not this worker's any more."""
    with atomic():
        locked = locking.lock_run(running.run_id)
        step = locking.read_step(locked, running.step_id)
        definition = find_step(step.name) if step is not None else None
        if step is None or definition is None or not steps.holds_lease(step, worker_id, running.attempt):
            return None
        return attempt_of(step, locked.run, definition, worker_id)


def _lose(running: Running, worker_id: str) -> int:
    with atomic():
        found = locking.lock_runs([running.run_id], skip_locked=True, entities=False)
        for locked in found:
            step = locking.read_step(locked, running.step_id)
            if step is None or not steps.holds_lease(step, worker_id, running.attempt):
                return 0
            steps.lose_step(locked, step)
            write([locked])
    if found:
        logger.warning(
            "Attempt %d of step %s is recorded as running here and is not: it counts as lost.",
            running.attempt,
            running.step_id,
        )
    return len(found)
