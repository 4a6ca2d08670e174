"""Which run's body a worker process is computing, written where its supervisor can read it after a crash or a hang."""

from __future__ import annotations

import mmap
import struct
import time

_FORMAT = struct.Struct("d64s")  # since when (time.monotonic()), the run's id


class Watchdog:
    """One slot of memory shared with the supervisor. Marked and cleared around each drain of a body."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    def mark(self, run_id: str) -> None:
        """A body of this run begins to compute, now."""
        _FORMAT.pack_into(self._memory, 0, time.monotonic(), run_id.encode())

    def clear(self) -> None:
        """It has paused or ended."""
        _FORMAT.pack_into(self._memory, 0, 0.0, b"")

    def read(self) -> tuple[str, float] | None:
        """The run whose body is computing and for how many seconds; None between two drains."""
        since, run_id = _FORMAT.unpack_from(self._memory, 0)
        if not since:
            return None
        return run_id.rstrip(b"\0").decode(), time.monotonic() - since
