"""Under the lock: due runs, and those that could not go behind the fence, in one transaction; one by one if that fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from django.db import IntegrityError

from ...exceptions import CorruptedEventLogError, ReplayDivergenceError
from ...recovery import repair
from ...serialization import encode_error
from ...services import runs
from ...store import claims, database, locking
from ...store.claims import WorkerScope
from ...store.transactions import atomic
from ...store.write import write, write_rows
from ..attempts.attempts import Failed, Outcome
from ..link.connection import AdvancingConnection
from .bodies import Bodies
from .outcomes import record_outcome, record_outcomes
from .replay_cache import Recall
from .settlement import Result, Settling
from .transition_steps import Advance, Work

logger = logging.getLogger(__name__)

#: tries of one run whose transaction PostgreSQL ended to break a deadlock
_TRIES = 8


class Locked:
    """``defer`` takes works whose run somebody else's transaction holds."""

    def __init__(
        self,
        scope: WorkerScope,
        advance: Advance,
        recall: Recall,
        bodies: Bodies,
        connection: AdvancingConnection,
        settling: Settling,
        defer: Callable[[Work], None],
    ) -> None:
        self._scope = scope
        self._advance, self._recall, self._bodies = advance, recall, bodies
        self._connection, self._settling, self._defer = connection, settling, defer

    def advance(self, works: Sequence[Work], *, limit: int, rung_for: Sequence[str] = ()) -> int:
        """Advance these runs, and up to ``limit`` that are due or those ``rung_for``, in one transaction; else one by one.

        Returns how many due runs were claimed.
        """
        results: list[Result] = []
        try:
            self._batch(works, limit, results, rung_for)
        except Exception as error:
            self._settling.undo(results)
            if not self._connection.usable:
                raise
            by_run = {work.run_id: work for work in works}
            for result in results:
                by_run.setdefault(result.work.run_id, Work(result.work.run_id))
            if len(by_run) != 1:
                logger.debug("A batch of %d runs failed (%s); they are done one by one.", len(by_run), error)
            for work in by_run.values():
                self._alone(work)
            return max(0, len(by_run) - len(works))
        for result in results:
            self._settling.settle(result)
        return max(0, len(results) - len(works))

    def _batch(self, works: Sequence[Work], limit: int, results: list[Result], rung_for: Sequence[str] = ()) -> None:
        held: list[Work] = []
        by_run = {work.run_id: work for work in works}
        found: dict[str, claims.Claimed] = {}
        with self._dropping(found), atomic():
            # waited for in the order of their ids, before the due ones, which are never waited for
            if fresh := sorted(run_id for run_id, work in by_run.items() if not work.tries):
                for locked in claims.lock_for_outcomes(fresh, self._connection.execute):
                    found[locked.run.id] = claims.Claimed(locked, None)
            if again := [run_id for run_id, work in by_run.items() if work.tries]:
                for locked in claims.lock_for_outcomes(again, self._connection.execute, skip_locked=True):
                    found[locked.run.id] = claims.Claimed(locked, None)
                held = [by_run[run_id] for run_id in claims.existing_runs(again) if run_id not in found]
            due: Sequence[claims.Claimed] = ()
            if limit:
                due = claims.claim_due_runs(self._scope, limit, self._connection.execute)
            elif rung_for:
                due = claims.claim_these_runs(self._scope, rung_for, self._connection.execute)
            for claimed in due:
                found.setdefault(claimed.transition.run.id, claimed)
            everything = self._recall.bodies_for(list(found.values()))
            for recalled in everything:
                run_id = recalled.transition.run.id
                results.append(Result(by_run.get(run_id) or Work(run_id), recalled.transition, recalled.body))
            for result, recalled in zip(results, everything, strict=True):
                self._locked(result, recalled.foreign)
            write_rows([result.transition for result in results], self._connection.execute_or_none)
        for work in held:
            self._defer(work)
        for result in results:
            self._connection.set_clock_from(result.transition)

    @contextmanager
    def _dropping(self, found: Mapping[str, object]) -> Iterator[None]:
        """After a failure, forget the bodies of all these runs, also of those whose turn had not come: their entities
        may be ahead of what the bodies were told, and would pass for complete."""
        try:
            yield
        except BaseException:
            for run_id in found:
                self._bodies.drop(run_id)
            raise

    def _locked(self, result: Result, foreign: Sequence[object]) -> None:
        transition_, body, work = result.transition, result.body, result.work
        if body is None:  # ended, or of a workflow that this process does not know: only what it was told is recorded
            if work.outcomes:
                record_outcomes(transition_, work.outcomes)
            return
        self._recall.catch_up(body, foreign)
        self._advance.arrivals(transition_, work, locked=True)
        self._advance.decide(transition_, body, locked=True)
        self._settling.start_steps(result)

    def _alone(self, work: Work) -> None:
        """Advance one run in its own transaction; put it off if somebody holds it, park it if it cannot be advanced."""
        for attempt in range(_TRIES):
            results: list[Result] = []
            try:
                self._batch([work], 0, results)
            except Exception as error:
                self._settling.undo(results)
                if not self._connection.usable:
                    raise
                if database.is_deadlock(error) and attempt < _TRIES - 1:
                    continue
                if isinstance(error, IntegrityError | CorruptedEventLogError) and not attempt and self._repair(work):
                    continue
                self._park(work, error)
                return
            for result in results:
                self._settling.settle(result)
            return

    def _repair(self, work: Work) -> bool:
        """The tables may contradict the log: a partial restore, a hand in the tables. True: they did, and no longer do."""
        try:
            with atomic():
                done = repair.repair_run(work.run_id)
        except Exception:
            if not self._connection.usable:
                raise
            return False
        if done:
            logger.warning("Run %s was repaired from its log: %s.", work.run_id, "; ".join(done))
        return bool(done)

    def _park(self, work: Work, error: Exception) -> None:
        """The run cannot be advanced here: record what was reported, say why, and try again later."""
        waits = database.is_lock_timeout(error)
        if waits:
            reason = "Another transaction holds what the run needs: its row, or the token of a hook."
        else:
            logger.warning("Run %s cannot be advanced: %s", work.run_id, error, exc_info=not _expected(error))
            reason = str(error) if _expected(error) else f"internal error: {type(error).__name__}: {error}"
        unwritable = [Failed(outcome.attempt, encode_error(error), fatal=True) for outcome in work.outcomes]
        for outcomes in (work.outcomes, unwritable, []):  # what was reported may itself be what cannot be written
            try:
                found = self._block(work.run_id, outcomes, reason)
            except Exception:
                if not self._connection.usable:
                    raise
                logger.exception("Run %s cannot be parked with what its steps reported.", work.run_id)
                continue
            if not found and claims.existing_runs([work.run_id]):
                self._defer(work)
            return

    def _block(self, run_id: str, outcomes: Sequence[Outcome], reason: str) -> bool:
        """Record outcomes and park the run. False: somebody holds it, or it is gone."""
        with atomic():
            found = locking.lock_runs([run_id], skip_locked=True)
            for locked in found:
                for outcome in outcomes:
                    record_outcome(locked, outcome)
                runs.block_run(locked, reason, self._scope.code_version)
                write([locked])
        return bool(found)

    def start_claimed(self, hints: Sequence[tuple[str, str]]) -> None:
        by_run: dict[str, list[str]] = {}
        for run_id, correlation_id in hints:
            by_run.setdefault(run_id, []).append(correlation_id)
        results: list[Result] = []
        try:
            with atomic():
                for locked in claims.lock_for_outcomes(sorted(by_run), self._connection.execute, skip_locked=True):
                    work = Work(locked.run.id, starts=by_run[locked.run.id])
                    body = self._recall.in_step(locked)
                    result = Result(work, locked, body)
                    if body is None:
                        locking.read_steps(locked, work.starts)
                    results.append(result)
                    self._settling.start_steps(result)
                write_rows([result.transition for result in results], self._connection.execute_or_none)
        except BaseException:
            # their slots above all: whatever was started all the same is adopted later, and takes them
            self._settling.undo(results)
            raise
        for result in results:
            result.left = []
            self._settling.settle(result, keep=result.body is not None)


def _expected(error: Exception) -> bool:
    return isinstance(error, ReplayDivergenceError | CorruptedEventLogError)
