"""How many attempts a worker begins at a time.

That is as many as it may run at once. Where steps have been short it begins a few more, which wait in this process for
their turn: a turn of the advancer then has more to write at once, and costs each run less. Their wait is bounded twice:
by how many are begun, from the time that steps have taken lately, and by the dispatcher, which releases what has waited
too long because a long step came after short ones.
"""

from __future__ import annotations

import threading

#: seconds that an attempt may be expected to wait for its turn
AHEAD = 0.01
#: at most that many times what may run at once
MOST = 4
#: weight of the last attempt in the mean duration
_WEIGHT = 0.1


class Slots:
    """``concurrency``: how many attempts may run at once. Safe from any thread."""

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self._taken = 0
        self._limit = concurrency
        self._mean = 1.0  # seconds: nothing is known yet
        self._closed = False
        self._lock = threading.Lock()

    @property
    def free(self) -> int:
        """How many attempts may be begun now."""
        return 0 if self._closed else max(0, self._limit - self._taken)

    def close(self) -> None:
        """The worker stops: no slot is granted any more."""
        self._closed = True

    def take(self, wanted: int) -> int:
        """Take up to that many; returns how many were granted."""
        with self._lock:
            granted = min(wanted, self.free)
            self._taken += granted
            return granted

    def occupy(self) -> None:
        """Take a slot whether or not one is free: the attempt is recorded as started already."""
        with self._lock:
            self._taken += 1

    def free_slots(self, count: int = 1) -> None:
        """That many attempts have ended, or will not begin."""
        with self._lock:
            self._taken -= count

    def note(self, seconds: float) -> None:
        """An attempt has run for that many seconds, or has waited that long for its turn in vain."""
        with self._lock:
            weight = 1.0 if seconds >= AHEAD * self.concurrency else _WEIGHT  # a long step counts at once
            self._mean += weight * (seconds - self._mean)
            ahead = int(AHEAD * self.concurrency / max(self._mean, 1e-6))
            self._limit = min(self.concurrency + ahead, MOST * self.concurrency)
