"""What becomes of a run that cannot be advanced: repaired from its log where that helps, otherwise parked with a reason."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

from ...exceptions import CorruptedEventLogError, ReplayDivergenceError
from ...recovery.repair import repair_run
from ...services import runs
from ...store import locking
from ...store.faults import Fault
from ...store.transactions import atomic
from ...store.write import write
from ..attempts.attempts import Outcome
from .outcomes import record_outcome
from .work import Work

logger = logging.getLogger("django_workflows.worker")


def repair(work: Work) -> bool:
    """The tables may contradict the log: a partial restore, an edit by hand. True: they did, and no longer do."""
    with atomic():
        done = repair_run(work.run_id)
    if done:
        logger.warning(
            "Run %s was repaired from its log: %s.", work.run_id, "; ".join(done), extra={"run_id": work.run_id}
        )
    return bool(done)


def reason_of(work: Work, error: Exception, fault: Fault) -> str:
    """Why the run stands, as a sentence for its row."""
    if fault.is_lock_timeout:
        return "Another transaction holds what the run needs: its row, or the token of a hook."
    if fault.will_pass:
        return f"The database refuses what the run has to write: {fault.sentence}"
    expected = isinstance(error, ReplayDivergenceError | CorruptedEventLogError)
    if not expected:  # the traceback; that the run is blocked, and why, is logged when that is committed
        logger.error("Run %s cannot be advanced.", work.run_id, exc_info=error, extra={"run_id": work.run_id})
    return str(error) if expected else f"internal error: {type(error).__name__}: {error}"


def block(run_id: str, outcomes: Sequence[Outcome], reason: str, code_version: str) -> bool:
    """Record outcomes and park the run. False: another transaction holds it, or it is gone."""
    with atomic():
        found = locking.lock_runs([run_id], skip_locked=True)
        for locked in found:
            for outcome in outcomes:
                record_outcome(locked, outcome)
            runs.block_run(locked, reason, code_version)
            write([locked])
    return bool(found)


class _TriedError(Exception):
    """It could be written, and is rolled back."""


def try_to_record(outcome: Outcome) -> None:
    """Write the outcome in a transaction that is rolled back. Raises why it cannot be stored."""
    with suppress(_TriedError), atomic():
        for locked in locking.lock_runs([outcome.attempt.run_id], skip_locked=True):
            record_outcome(locked, outcome)
            write([locked])
        raise _TriedError
