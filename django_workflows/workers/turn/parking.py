"""What becomes of a run that cannot be advanced: repaired from its log where that helps, otherwise parked with a reason."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ...exceptions import CorruptedEventLogError, ReplayDivergenceError
from ...recovery.repair import repair_run
from ...serialization import encode_error
from ...services import runs
from ...store import claims, faults, locking
from ...store.transactions import atomic
from ...store.write import write
from ..attempts.attempts import Failed, Outcome
from ..link.connection import AdvancingConnection
from .outcomes import record_outcome
from .work import Work

logger = logging.getLogger(__name__)


def repair(work: Work) -> bool:
    """The tables may contradict the log: a partial restore, an edit by hand. True: they did, and no longer do."""
    with atomic():
        done = repair_run(work.run_id)
    if done:
        logger.warning("Run %s was repaired from its log: %s.", work.run_id, "; ".join(done))
    return bool(done)


def park(work: Work, error: Exception, code_version: str, connection: AdvancingConnection) -> bool:
    """Record what was reported, say why the run stands, and leave it alone for a while.

    False: another transaction holds the run, and nothing was recorded. Raises only what broke ``connection``.
    """
    reason = _reason(work, error)
    unwritable = [Failed(outcome.attempt, encode_error(error), fatal=True) for outcome in work.outcomes]
    for outcomes in (work.outcomes, unwritable, []):  # what was reported may itself be what cannot be written
        try:
            found = _block(work.run_id, outcomes, reason, code_version)
        except Exception:
            if not connection.usable:
                raise
            logger.exception("Run %s cannot be parked with what its steps reported.", work.run_id)
            continue
        return found or not claims.existing_runs([work.run_id])
    return True


def _reason(work: Work, error: Exception) -> str:
    if faults.classify(error).is_lock_timeout:
        return "Another transaction holds what the run needs: its row, or the token of a hook."
    expected = isinstance(error, ReplayDivergenceError | CorruptedEventLogError)
    logger.warning("Run %s cannot be advanced: %s", work.run_id, error, exc_info=not expected)
    return str(error) if expected else f"internal error: {type(error).__name__}: {error}"


def _block(run_id: str, outcomes: Sequence[Outcome], reason: str, code_version: str) -> bool:
    """Record outcomes and park the run. False: another transaction holds it, or it is gone."""
    with atomic():
        found = locking.lock_runs([run_id], skip_locked=True)
        for locked in found:
            for outcome in outcomes:
                record_outcome(locked, outcome)
            runs.block_run(locked, reason, code_version)
            write([locked])
    return bool(found)
