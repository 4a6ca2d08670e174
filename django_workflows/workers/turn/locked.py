"""Pessimistic path: due runs, and what the fence could not take, under their locks; one by one where that fails."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from django.db import IntegrityError

from ...exceptions import CorruptedEventLogError
from ...store import claims, faults, locking
from ...store.transactions import atomic
from ...store.write import write_rows
from ..link.connection import AdvancingConnection
from . import parking
from .bodies import Bodies
from .inbox import Inbox
from .outcomes import record_outcomes_alone
from .replay_cache import ReplayCache
from .settlement import Settlement
from .transition_steps import decide, record_arrivals, start_steps
from .work import Work
from .worker import Worker

logger = logging.getLogger(__name__)

#: tries of one run whose transaction PostgreSQL ended to break a deadlock
_TRIES = 8


class Locked:
    """Runs that another transaction holds are deferred to the inbox; those that cannot be advanced are parked."""

    def __init__(
        self, worker: Worker, bodies: Bodies, inbox: Inbox, connection: AdvancingConnection, settlement: Settlement
    ) -> None:
        self._worker, self._bodies, self._inbox = worker, bodies, inbox
        self._connection, self._settlement = connection, settlement
        self._cache = ReplayCache(bodies, connection, worker.watchdog)

    def advance(self, works: Sequence[Work], *, limit: int, notified: Sequence[str] = ()) -> int:
        """Lock, decide, write and settle these runs, and up to ``limit`` that are due, or else the ``notified``.

        All in one transaction; one by one if that fails, so that one bad run never holds up the others. Returns how many
        due runs were claimed.
        """
        locked: list[Work] = []
        try:
            self._in_one_transaction(works, locked, limit=limit, notified=notified)
        except Exception as error:
            self._settlement.undo(locked)
            if not self._connection.usable:
                raise
            everything = {work.run_id: work for work in (*works, *locked)}
            if len(everything) != 1:
                logger.debug("A batch of %d runs failed (%s); they are done one by one.", len(everything), error)
            for work in everything.values():
                self._alone(work)
            return max(0, len(everything) - len(works))
        for work in locked:
            self._settlement.settle(work)
        return max(0, len(locked) - len(works))

    def _in_one_transaction(
        self, works: Sequence[Work], locked: list[Work], *, limit: int = 0, notified: Sequence[str] = ()
    ) -> None:
        """``locked`` is filled with the works whose runs were locked, which are to be undone if this raises: cached bodies
        may be behind their entities then, and would pass for complete."""
        with atomic():
            held = self._lock(works, locked)
            self._claim(locked, limit, notified)
            self._cache.load(locked)
            for work in locked:
                self._decide(work)
            write_rows([work.transition for work in locked], self._connection.execute_or_none)
        for work in held:
            self._defer(work)
        for work in locked:
            self._connection.set_clock_from(work.transition)

    def _lock(self, works: Sequence[Work], locked: list[Work]) -> list[Work]:
        """Lock the runs of these works, in the order of their ids. Returns those that another transaction holds.

        The due ones come after them, and are never waited for; nor is a run that was found held before.
        """
        by_run = {work.run_id: work for work in works}
        fresh = sorted(run_id for run_id, work in by_run.items() if not work.tries)
        again = sorted(run_id for run_id, work in by_run.items() if work.tries)
        for run_ids, skip_locked in ((fresh, False), (again, True)):
            if not run_ids:
                continue
            for found in claims.lock_for_outcomes(run_ids, self._connection.execute, skip_locked=skip_locked):
                work = by_run.pop(found.run.id)
                work.load(found, None)
                locked.append(work)
        missing = [run_id for run_id in again if run_id in by_run]
        return [by_run[run_id] for run_id in claims.existing_runs(missing)] if missing else []

    def _claim(self, locked: list[Work], limit: int, notified: Sequence[str]) -> None:
        """Lock runs that are due, beside those that are locked already."""
        due: Sequence[claims.Claimed] = ()
        if limit:
            due = claims.claim_due_runs(self._worker.scope, limit, self._connection.execute)
        elif notified:
            due = claims.claim_these_runs(self._worker.scope, notified, self._connection.execute)
        known = {work.run_id for work in locked}
        for claimed in due:
            run_id = claimed.transition.run.id
            if run_id not in known:
                work = Work(run_id)
                work.load(claimed.transition, None, claimed.log or ())
                locked.append(work)

    def _decide(self, work: Work) -> None:
        if work.body is not None:
            self._cache.catch_up(work)
            record_arrivals(work, self._worker, locked=True)
            decide(work, self._worker, locked=True)
            start_steps(work, self._worker)
        elif (
            work.outcomes
        ):  # ended, or of a workflow that this process does not know: only what was reported is recorded
            record_outcomes_alone(work.transition, work.outcomes)

    def _defer(self, work: Work) -> None:
        self._bodies.drop(work.run_id)
        self._inbox.defer(work)

    # --- one by one --------------------------------------------------------------------------------------------------

    def _alone(self, work: Work) -> None:
        """Advance one run in its own transaction; defer it if it is held, park it if it cannot be advanced."""
        for attempt in range(_TRIES):
            locked: list[Work] = []
            try:
                self._in_one_transaction([work], locked)
            except Exception as error:
                self._settlement.undo(locked)
                if not self._connection.usable:
                    raise
                if faults.classify(error).is_conflict and attempt < _TRIES - 1:
                    continue
                if isinstance(error, IntegrityError | CorruptedEventLogError) and not attempt and self._repair(work):
                    continue
                self._park(work, error)
                return
            for done in locked:
                self._settlement.settle(done)
            return

    def _repair(self, work: Work) -> bool:
        try:
            return parking.repair(work)
        except Exception:
            if not self._connection.usable:
                raise
            return False

    def _park(self, work: Work, error: Exception) -> None:
        if not parking.park(work, error, self._worker.scope.code_version, self._connection):
            self._defer(work)

    # --- pending steps -----------------------------------------------------------------------------------------------

    def start_pending(self, hints: Sequence[tuple[str, str]]) -> None:
        """Start these steps (run id, correlation id) where they are still pending and there are slots for them."""
        by_run: dict[str, list[str]] = {}
        for run_id, correlation_id in hints:
            by_run.setdefault(run_id, []).append(correlation_id)
        locked: list[Work] = []
        try:
            with atomic():
                for found in claims.lock_for_outcomes(sorted(by_run), self._connection.execute, skip_locked=True):
                    work = Work(found.run.id, starts=by_run[found.run.id])
                    locked.append(work)
                    work.load(found, self._cache.cached_if_current(found))
                    if work.body is None:
                        locking.read_steps(found, work.starts)
                    start_steps(work, self._worker)
                write_rows([work.transition for work in locked], self._connection.execute_or_none)
        except BaseException:
            # their slots above all: what was started all the same is adopted later, and takes them
            self._settlement.undo(locked)
            raise
        for work in locked:
            work.without_slot = ()  # any worker may start them
            self._settlement.settle(work)
