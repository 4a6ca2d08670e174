"""Attempts at atomic steps: what the function writes and the step's end are one transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db import connections, transaction

from ...exceptions import CorruptedEventLogError, FatalError
from ...serialization import Encoded, dumps
from ...services import steps
from ...store import database, faults, locking
from ...store.faults import Fault, Kind
from ...store.limits import require_size
from ...store.write import write
from .attempts import AlreadyRecorded, Attempt, Lost, Outcome
from .step_runtime import StepRuntime

logger = logging.getLogger("django_workflows.worker")


#: PostgreSQL's state of a statement in a transaction in which another one has failed
_ABORTED = "25P02"


class _LeaseLostError(Exception):
    """The step has a newer attempt, or none; what this one did in its transaction is rolled back."""


class _NotWrittenError(Exception):
    """What we write for the step's end was not taken; ``__cause__`` says why. Its transaction is rolled back."""


def run_atomic(attempt: Attempt, runtime: StepRuntime, call: Callable[[], Any]) -> Outcome:
    """Call the function and record its return in one transaction.

    Raises:
        FatalError: the step is atomic on a database that the workflow tables are not in.
        BaseException: what the function raised, or a constraint of its own rows at the commit; everything is rolled back.
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
            _require_connection(using)
            returned = True
            _write_end(attempt, runtime, output)
    except _LeaseLostError:
        return AlreadyRecorded(attempt)
    except (_NotWrittenError, *faults.DATABASE_ERRORS) as error:
        fault = faults.classify(error)
        if not _is_of_the_store(error, fault, returned=returned):
            raise
        logger.warning("What step %s did was rolled back and it is tried again: %s", attempt.step.id, fault.sentence)
        return Lost(attempt, f"What attempt {attempt.number} did was rolled back: {fault.sentence}.")
    return AlreadyRecorded(attempt)


def _is_of_the_store(error: BaseException, fault: Fault, *, returned: bool) -> bool:
    """Whether it is no fault of the step: of its own statements only the end of their connection, at the commit also that
    the store refuses, though not that a deferred constraint of its own does; of ours, everything."""
    if isinstance(error, _NotWrittenError):
        return True
    return (fault.will_pass and fault.code != _ABORTED) if returned else fault.kind is Kind.GONE


def _require_connection(using: str) -> None:
    """The function may have closed it, with its transaction and all that was written there."""
    if connections[using].closed_in_transaction:
        raise transaction.TransactionManagementError(
            "An atomic step closed the connection that its transaction is on (connections.close_all()?): nothing that it "
            "wrote is kept. Close no connections in it, or make it a step that is not atomic."
        )


def _write_end(attempt: Attempt, runtime: StepRuntime, output: Encoded) -> None:
    try:
        runtime.flush()
        _complete(attempt, output)
    except (*faults.DATABASE_ERRORS, CorruptedEventLogError) as error:
        fault = faults.classify(error)
        if isinstance(error, transaction.TransactionManagementError) or fault.code == _ABORTED:
            raise  # the function has caught an error in its transaction, which takes no statement after that
        if fault.kind is Kind.VALUE:
            raise  # what it returned can never be stored
        raise _NotWrittenError from error


def _complete(attempt: Attempt, output: Encoded) -> None:
    """Record the end under the run's lock, where the lease is checked."""
    locked = locking.lock_run(attempt.run_id)
    step = locking.read_step(locked, attempt.step.id)
    if step is None or not steps.holds_lease(step, attempt.worker_id, attempt.number):
        raise _LeaseLostError
    steps.complete_step(locked, step, output)
    write([locked])
