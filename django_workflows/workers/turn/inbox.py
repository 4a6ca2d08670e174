"""What waits for the next turn: outcomes, runs that another transaction held, pending steps that found no slot."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterable
from datetime import datetime

from ..attempts.attempts import AlreadyRecorded, Outcome
from .bodies import Bodies
from .work import Work

#: runs that one turn takes up because their time has come
MAX_TIMERS = 200
#: seconds before a run that was held is tried again: the first time, and at most
_FIRST_PAUSE = 0.04
_MAX_PAUSE = 1.0
#: seconds before what the store has refused is tried again: the first time, and at most
_FIRST_REFUSED = 0.1
_MAX_REFUSED = 5.0


class Inbox:
    """``put`` is safe from any thread; all else belongs to the thread that has the turn."""

    def __init__(self) -> None:
        self._outcomes: deque[Outcome] = deque()
        #: works whose run another transaction holds, and when (``time.monotonic()``) to try again
        self._deferred: list[tuple[float, Work]] = []
        #: pending steps (run id, correlation id) that found no slot
        self.backlog: deque[tuple[str, str]] = deque()

    def put(self, outcomes: Iterable[Outcome]) -> None:
        self._outcomes.extend(outcomes)

    def defer(self, work: Work) -> None:
        """Another transaction holds the run: what was reported waits, and no other run waits with it."""
        work.tries += 1
        work.starts.clear()
        self._defer(work, min(_FIRST_PAUSE * 2.0 ** min(work.tries - 1, 10), _MAX_PAUSE))

    def keep(self, work: Work) -> None:
        """The store refuses what was reported for the run: it is tried again, ever more slowly, until it is recorded or
        its lease refuses it."""
        work.refusals += 1
        work.starts.clear()
        self._defer(work, min(_FIRST_REFUSED * 2.0 ** min(work.refusals - 1, 10), _MAX_REFUSED))

    def _defer(self, work: Work, pause: float) -> None:
        if work.outcomes:
            spread = random.uniform(0.5, 1.0)  # noqa: S311 - not all of them again at once
            self._deferred.append((time.monotonic() + pause * spread, work))

    def hurry(self) -> None:
        """The store takes writes again: what it has refused is tried in the next turn."""
        self._deferred = [(0.0 if work.refusals else at, work) for at, work in self._deferred]

    @property
    def has_refused(self) -> bool:
        """Whether something waits that the store has refused."""
        return any(work.refusals for _, work in self._deferred)

    @property
    def has_outcomes(self) -> bool:
        """Whether something has been reported that no turn has taken yet."""
        return bool(self._outcomes)

    @property
    def is_empty(self) -> bool:
        """Whether nothing that was reported waits to be recorded."""
        return not (self._outcomes or self._deferred)

    @property
    def next_deferred(self) -> float | None:
        """``time.monotonic()`` when a run that was held is tried again."""
        return min((at for at, _ in self._deferred), default=None)

    def unrecorded(self) -> list[Outcome]:
        """What was reported and waits to be recorded."""
        return [*self._outcomes, *(outcome for _, work in self._deferred for outcome in work.outcomes)]

    def gather(self, bodies: Bodies, now: datetime, room: int) -> list[Work]:
        """Outcomes by run, cached bodies whose time has come, and up to ``room`` pending steps that may start now."""
        works: dict[str, Work] = {}
        for _ in range(len(self._outcomes)):
            outcome = self._outcomes.popleft()
            run_id = outcome.attempt.run_id
            work = works.get(run_id) or works.setdefault(run_id, Work(run_id))
            if isinstance(outcome, AlreadyRecorded):
                work.needs_catch_up = True
            else:
                work.outcomes.append(outcome)
        if self._deferred:
            self._take_deferred(works)
        for run_id in bodies.due(now, MAX_TIMERS):
            works.setdefault(run_id, Work(run_id))
        while room > 0 and self.backlog:
            run_id, correlation_id = self.backlog.popleft()
            if bodies.get(run_id) is not None:
                works.setdefault(run_id, Work(run_id)).starts.append(correlation_id)
                room -= 1
        return list(works.values())

    def _take_deferred(self, works: dict[str, Work]) -> None:
        now, waiting = time.monotonic(), self._deferred
        self._deferred = [item for item in waiting if item[0] > now]
        for at, work in waiting:
            if at <= now:
                known = works.setdefault(work.run_id, work)
                if known is not work:
                    known.outcomes[:0] = work.outcomes
                    known.tries, known.refusals = work.tries, work.refusals
