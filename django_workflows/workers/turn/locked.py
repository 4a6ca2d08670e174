"""Pessimistic path: due runs, and what the fence could not take, under their locks; one by one where that fails."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from ...exceptions import ReplayDivergenceError
from ...serialization import encode_error
from ...store import claims, faults, locking
from ...store.faults import Fault, Kind
from ...store.transactions import atomic
from ...store.write import write_rows
from ..attempts.attempts import Failed, Outcome
from ..link.connection import AdvancingConnection
from . import parking
from .bodies import Bodies
from .doubts import Doubts
from .inbox import Inbox
from .outcomes import record_outcomes_alone
from .refusals import Refusals
from .replay_cache import ReplayCache
from .settlement import Settlement
from .transition_steps import decide, record_arrivals, start_steps
from .work import Work
from .worker import Worker

logger = logging.getLogger("django_workflows.worker")

#: tries of one run whose transaction PostgreSQL ended to break a deadlock
_TRIES = 8
#: runs that the store may refuse in a row before the others of the turn are not even tried
_ENOUGH = 2
#: seconds before the steps of a run are tried again that could not be started
_UNSTARTABLE_PAUSE = 30.0


class Locked:
    """Runs that another transaction holds are deferred to the inbox; those that cannot be advanced are parked."""

    def __init__(
        self,
        worker: Worker,
        bodies: Bodies,
        inbox: Inbox,
        connection: AdvancingConnection,
        settlement: Settlement,
        refusals: Refusals,
    ) -> None:
        self._worker, self._bodies, self._inbox, self._refusals = worker, bodies, inbox, refusals
        self._connection, self._settlement = connection, settlement
        self._cache = ReplayCache(bodies, connection, worker.watchdog)
        #: workflows whose runs of other code versions do not fit this one
        self.doubts = Doubts()
        #: runs whose steps could not be started, and when (``time.monotonic()``) to try again; the earliest first
        self._unstartable: OrderedDict[str, float] = OrderedDict()

    def advance(
        self, works: Sequence[Work], *, limit: int, notified: Sequence[str] = (), doubtful: bool = False
    ) -> int:
        """Lock, decide, write and settle these runs, and up to ``limit`` that are due, or else the ``notified``.

        ``doubtful``: of those that are due, the ones that are parked, or likely to be.

        All in one transaction; one by one if that fails, so that one bad run never holds up the others. Returns how many
        due runs were claimed.
        """
        locked: list[Work] = []
        try:
            self._in_one_transaction(works, locked, limit=limit, notified=notified, doubtful=doubtful)
        except Exception as error:
            self._settlement.undo(locked)
            self._fault_of(error)
            everything = {work.run_id: work for work in (*works, *locked)}
            if not everything:  # nothing was claimed
                raise
            if len(everything) != 1:
                logger.debug("A batch of %d runs failed (%s); they are done one by one.", len(everything), error)
            self._one_by_one(list(everything.values()))
            return max(0, len(everything) - len(works))
        for work in locked:
            self._settlement.settle(work)
        return max(0, len(locked) - len(works))

    def _in_one_transaction(
        self,
        works: Sequence[Work],
        locked: list[Work],
        *,
        limit: int = 0,
        notified: Sequence[str] = (),
        doubtful: bool = False,
    ) -> None:
        """``locked`` is filled with the works whose runs were locked, which are to be undone if this raises: cached bodies
        may be behind their entities then, and would pass for complete."""
        with atomic():
            held = self._lock(works, locked)
            self._claim(locked, limit, notified, doubtful=doubtful)
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

    def _claim(self, locked: list[Work], limit: int, notified: Sequence[str], *, doubtful: bool) -> None:
        """Lock runs that are due, beside those that are locked already."""
        due: Sequence[claims.Claimed] = ()
        if limit and doubtful:
            due = self._claim_doubtful(limit)
        elif limit:
            doubted = self.doubts.workflows()
            due = claims.claim_due_runs(self._worker.scope, limit, self._connection.execute, doubted=doubted)
        elif notified:
            due = claims.claim_these_runs(self._worker.scope, notified, self._connection.execute)
        known = {work.run_id for work in locked}
        for claimed in due:
            run_id = claimed.transition.run.id
            if run_id not in known:
                work = Work(run_id)
                work.load(claimed.transition, None, claimed.log or ())
                locked.append(work)

    def _claim_doubtful(self, limit: int) -> list[claims.Claimed]:
        """Due runs that will hardly fit, and parked ones; one that has taken a process down only where there are no others,
        so that it is alone when it does so again."""
        scope, execute = self._worker.scope, self._connection.execute
        due: list[claims.Claimed] = []
        if doubted := self.doubts.workflows():
            due = claims.claim_due_runs(scope, limit, execute, doubted=doubted, only_doubted=True)
        if not due:
            due = claims.claim_parked_runs(scope, limit, execute, crashed=False)
        return due or claims.claim_parked_runs(scope, 1, execute, crashed=True)

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

    def keep(self, work: Work, fault: Fault) -> None:
        """What was reported for the run cannot be recorded now."""
        self._bodies.drop(work.run_id)
        self._inbox.keep(work)
        if fault.will_pass or work.outcomes:
            self._refusals.note(fault)

    # --- one by one --------------------------------------------------------------------------------------------------

    def _one_by_one(self, works: Sequence[Work]) -> None:
        """Each run in a transaction of its own. A store that refuses several in a row would refuse the others, too."""
        refused: list[Fault] = []
        for work in works:
            if len(refused) >= _ENOUGH:
                self.keep(work, refused[-1])
            elif (fault := self._alone(work)) is None:
                refused.clear()
            else:
                refused.append(fault)
        if refused:
            self._refusals.hold_claims()

    def _alone(self, work: Work) -> Fault | None:
        """Advance one run in its own transaction; defer it if it is held, park it if it cannot be advanced.

        Returns what the store refused, where not even that could be written.
        """
        for attempt in range(_TRIES):
            locked: list[Work] = []
            try:
                self._in_one_transaction([work], locked)
            except Exception as error:  # noqa: BLE001 - judged by what it is
                self._settlement.undo(locked)
                fault = self._fault_of(error)
                if fault.is_conflict and attempt < _TRIES - 1:
                    continue
                if fault.kind is Kind.CONTRADICTS and not attempt and self._repair(work):
                    continue
                if fault.kind is Kind.VALUE and not attempt and work.outcomes:
                    work.outcomes = [self._storable(outcome) for outcome in work.outcomes]
                    continue
                return self._park(work, error, fault)
            for done in locked:
                self._settlement.settle(done)
            return None
        raise AssertionError("unreachable")

    def _fault_of(self, error: Exception) -> Fault:
        """What the error is. One that asks for another connection is raised again: it ends the turn."""
        fault = faults.classify(error)
        if fault.needs_reconnect or not self._connection.usable:
            raise error
        return fault

    def _repair(self, work: Work) -> bool:
        try:
            return parking.repair(work)
        except Exception as error:  # noqa: BLE001 - what cannot be repaired is parked
            self._fault_of(error)
            return False

    def _storable(self, outcome: Outcome) -> Outcome:
        """The outcome; or, where its own value cannot be stored, the failure that says so."""
        try:
            parking.try_to_record(outcome)
        except Exception as error:  # noqa: BLE001 - judged by what it is
            if self._fault_of(error).kind is Kind.VALUE:
                return Failed(outcome.attempt, encode_error(error), fatal=True, raised=error)
        return outcome

    def _park(self, work: Work, error: Exception, fault: Fault) -> Fault | None:
        """Record what was reported and say why the run stands; keep what cannot be recorded.

        Returns what the store refused, where nothing could be written.
        """
        reason = parking.reason_of(work, error, fault)
        if isinstance(error, ReplayDivergenceError):
            self.doubts.note(work.transition.run.workflow)
        version = self._worker.scope.code_version
        # the log of a damaged run may refuse what was reported; the store, while it refuses, has to take all or nothing
        for outcomes in (work.outcomes,) if fault.will_pass else (work.outcomes, []):
            try:
                found = parking.block(work.run_id, outcomes, reason, version)
            except Exception as again:
                fault = self._fault_of(again)
                logger.debug("Run %s cannot be parked: %s", work.run_id, fault.sentence, exc_info=True)
                continue
            if not found and claims.existing_runs([work.run_id]):
                self._defer(work)
            elif len(outcomes) < len(work.outcomes):
                self.keep(work, fault)
            else:
                self._settlement.forget_begun(outcomes)
            return None
        self.keep(work, fault)
        return fault if fault.will_pass else None

    # --- pending steps -----------------------------------------------------------------------------------------------

    def start_pending(self, hints: Sequence[tuple[str, str]]) -> None:
        """Start these steps (run id, correlation id) where they are still pending and there are slots for them.

        All in one transaction; one run after the other if that fails. A run whose step cannot be started is parked, and
        its steps are passed over for a while (:meth:`unstartable`).
        """
        by_run: dict[str, list[str]] = {}
        for run_id, correlation_id in hints:
            by_run.setdefault(run_id, []).append(correlation_id)
        try:
            self._start(by_run)
        except Exception as error:
            fault = self._fault_of(error)
            if fault.will_pass:
                raise
            for run_id, correlation_ids in by_run.items():
                self._start_alone(run_id, correlation_ids)

    def _start(self, by_run: Mapping[str, list[str]]) -> None:
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

    def _start_alone(self, run_id: str, correlation_ids: list[str]) -> None:
        try:
            self._start({run_id: correlation_ids})
        except Exception as error:
            fault = self._fault_of(error)
            if fault.will_pass:
                raise
            self._unstartable[run_id] = time.monotonic() + _UNSTARTABLE_PAUSE
            self._unstartable.move_to_end(run_id)
            self._park(Work(run_id), error, fault)

    def unstartable(self) -> list[str]:
        """Runs whose steps could not be started a moment ago."""
        now = time.monotonic()
        while self._unstartable and (next(iter(self._unstartable.values())) <= now or len(self._unstartable) > 1000):
            self._unstartable.popitem(last=False)
        return list(self._unstartable)
