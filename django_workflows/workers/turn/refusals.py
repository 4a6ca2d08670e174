"""What a worker knows of a store that refuses: since when, why, how much waits to be saved, and what the log says of it."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, field
from datetime import datetime

from ...store.faults import Fault
from ...upkeep.worker_rows import Unsaved
from ...values import clock
from .inbox import Inbox

logger = logging.getLogger("django_workflows.worker")

#: results, and characters of them, that a worker keeps while they cannot be saved before it takes no more work
MAX_KEPT = 1000
MAX_KEPT_SIZE = 64 * 1024 * 1024
#: seconds before due runs are claimed again after a claim was refused: the first time, and at most
_FIRST_HOLD, _LAST_HOLD = 0.1, 2.0
#: seconds between two lines of log about one outage: the first two, and at most
_FIRST_LINE, _LAST_LINE = 5.0, 300.0
#: seconds between two occasions on which everything that was refused is tried at once
_HURRY_INTERVAL = 0.5


@dataclass(slots=True)
class _Outage:
    reason: str
    since: datetime = field(default_factory=clock.now)
    began: float = field(default_factory=time.monotonic)
    next_line: float = 0.0
    pause: float = _FIRST_LINE


class Refusals:
    """Of one worker process. All but :attr:`unsaved` and :attr:`is_full` belong to the thread that has the turn."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._outage: _Outage | None = None
        #: how often the store has refused: a turn sees by it whether it was refused anything
        self.count = 0
        self._hold = _FIRST_HOLD
        #: ``time.monotonic()`` from when on due runs may be claimed
        self.claim_at = 0.0
        self._hurry_at = 0.0

    # --- what has happened -------------------------------------------------------------------------------------------

    def note(self, fault: Fault) -> None:
        """The store has refused, or is away: an outage begins or lasts."""
        self.count += 1
        outage = self._outage
        if outage is None:
            outage = self._outage = _Outage(fault.sentence)
        outage.reason = fault.sentence
        now = time.monotonic()
        if now >= outage.next_line:
            outage.next_line = now + outage.pause
            outage.pause = min(outage.pause * 2, _LAST_LINE)
            logger.warning("%s.", self.unsaved)

    def hold_claims(self) -> None:
        """Claim nothing for a moment: it would be refused, too."""
        self.claim_at = time.monotonic() + self._hold * random.uniform(0.5, 1.0)  # noqa: S311 - not all workers at once
        self._hold = min(self._hold * 2, _LAST_HOLD)

    def note_answered(self, *, wrote: bool) -> None:
        """A turn was refused nothing. What was refused before is worth a try now, if something was written; where nothing
        is left the outage is over."""
        outage = self._outage
        if outage is None:
            return
        self.claim_at, self._hold = 0.0, _FIRST_HOLD
        if not self._inbox.has_refused:
            self._outage = None
            logger.info("All results are saved again, %.1f s after the first refusal.", time.monotonic() - outage.began)
        elif wrote and (now := time.monotonic()) >= self._hurry_at:
            self._hurry_at = now + _HURRY_INTERVAL
            self._inbox.hurry()

    # --- what follows ------------------------------------------------------------------------------------------------

    @property
    def may_claim(self) -> bool:
        """Whether new work may be taken: the last claim was not refused just now, and not too much waits to be saved."""
        return self._outage is None or (time.monotonic() >= self.claim_at and not self.is_full)

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be saved that this worker takes no more work."""
        if self._outage is None:
            return False
        outcomes = self._inbox.unrecorded()
        return len(outcomes) > MAX_KEPT or sum(outcome.size for outcome in outcomes) > MAX_KEPT_SIZE

    @property
    def unsaved(self) -> Unsaved | None:
        """What waits to be saved, while the store refuses it."""
        outage = self._outage
        return None if outage is None else Unsaved(len(self._inbox.unrecorded()), outage.since, outage.reason)
