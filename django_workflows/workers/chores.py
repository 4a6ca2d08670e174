"""The chores of a worker: what its housekeeping thread does, and how often."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from ..services import outbox
from ..upkeep import retention, worker_rows
from .housekeeping import Chore

#: seconds between two rounds of the chores that no run waits for
INTERVAL = 60.0
#: names of those that a survey asks for
RESCUE = "give back the steps of dead workers"
DELIVER = "deliver what runs owe each other"
#: runs of which a worker remembers that they cannot be removed
_MOST_KEPT = 10_000


class Chores:
    """``dead`` names the workers whose steps are to be given back; ``have_more`` is called where a chore made something due."""

    def __init__(self, dead: Callable[[], Sequence[str]], have_more: Callable[[], None]) -> None:
        self._dead, self._have_more = dead, have_more
        #: runs that cannot be removed, with the reason: each is reported once
        self._kept: dict[str, str] = {}

    def all(self) -> list[Chore]:
        now = time.monotonic()
        first = [now + random.uniform(0, INTERVAL) for _ in range(3)]  # noqa: S311 - not all workers at once
        return [
            Chore(RESCUE, self._rescue),
            Chore(DELIVER, self._deliver),
            Chore("give back the steps of workers without a row", worker_rows.rescue_orphans, INTERVAL, first[0]),
            Chore("remove the rows of workers that ended long ago", worker_rows.forget_workers, INTERVAL, first[1]),
            Chore("remove runs whose retention is over", self._prune, INTERVAL, first[2]),
        ]

    def _rescue(self) -> None:
        if worker_rows.rescue(self._dead()):
            self._have_more()

    def _deliver(self) -> None:
        if outbox.flush_outbox():
            self._have_more()

    def _prune(self) -> None:
        if len(self._kept) > _MOST_KEPT:
            self._kept.clear()
        retention.prune(limit=1000, kept=self._kept)
