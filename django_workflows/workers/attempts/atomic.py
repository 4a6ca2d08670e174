"""Attempts at atomic steps: what the function writes and the step's end are one transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db import InterfaceError, OperationalError, transaction

from ...exceptions import FatalError
from ...serialization import Encoded, dumps
from ...services import steps
from ...store import database, faults, locking
from ...store.limits import require_size
from ...store.write import write
from .attempts import AlreadyRecorded, Attempt, Outcome, Released
from .step_runtime import StepRuntime

logger = logging.getLogger("django_workflows.worker")


class _LeaseLostError(Exception):
    """The step has a newer attempt, or none; what this one did in its transaction is rolled back."""


def run_atomic(attempt: Attempt, runtime: StepRuntime, call: Callable[[], Any], pause: float) -> Outcome:
    """Call the function and record its return in one transaction. ``pause``: seconds before a lost one is tried again.

    Raises:
        FatalError: the step is atomic on a database that the workflow tables are not in.
        BaseException: what the function raised, or a constraint at the commit; everything is rolled back.
    """
    using = attempt.definition.using or database.alias()
    if using != database.alias():
        raise FatalError(
            f"{attempt.definition.name} is atomic on {using!r}, but the workflow tables are in {database.alias()!r}: "
            "two databases cannot commit as one."
        )
    returned = False
    try:
        with transaction.atomic(using=using):
            output = require_size(dumps(call()))
            returned = True
            runtime.flush()
            _complete(attempt, output)
    except _LeaseLostError:
        return AlreadyRecorded(attempt)
    except faults.DATABASE_ERRORS as error:
        # Nothing of an atomic step is left when its connection breaks, wherever that happens: no fault of the step.
        # Other errors are its own, also at the commit, where deferred constraints are checked.
        if (
            not (returned and isinstance(error, OperationalError | InterfaceError))
            and faults.classify(error).kind is not faults.Kind.GONE
        ):
            raise
        logger.warning("The result of step %s could not be saved and it is tried again: %s", attempt.step.id, error)
        return Released(attempt, pause)
    return AlreadyRecorded(attempt)


def _complete(attempt: Attempt, output: Encoded) -> None:
    """Record the end under the run's lock, where the lease is checked."""
    locked = locking.lock_run(attempt.run_id)
    step = locking.read_step(locked, attempt.step.id)
    if step is None or not steps.holds_lease(step, attempt.worker_id, attempt.number):
        raise _LeaseLostError
    steps.complete_step(locked, step, output)
    write([locked])
