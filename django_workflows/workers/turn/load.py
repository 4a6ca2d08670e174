"""Whether many runs are under way at this moment."""

from __future__ import annotations

import time
from collections import deque

#: seconds that count as this moment, and runs within them that count as many
WINDOW = 0.01
HIGH = 4


class Load:
    """A lone run is advanced as soon as its step ends. Under load, a turn that gathers for a millisecond costs each run
    less than a turn of its own would: fewer statements, commits and changes of thread.
    """

    __slots__ = ("_runs", "_seen")

    def __init__(self) -> None:
        self._seen: deque[tuple[float, str]] = deque()
        self._runs: dict[str, int] = {}

    def note(self, run_id: str) -> None:
        """The run has been advanced."""
        self._seen.append((time.monotonic(), run_id))
        self._runs[run_id] = self._runs.get(run_id, 0) + 1
        self._forget()

    @property
    def is_high(self) -> bool:
        """Whether many runs have been advanced within the last moment."""
        if len(self._runs) < HIGH:
            return False
        self._forget()
        return len(self._runs) >= HIGH

    def _forget(self) -> None:
        before = time.monotonic() - WINDOW
        while self._seen and self._seen[0][0] < before:
            _, run_id = self._seen.popleft()
            count = self._runs.get(run_id, 0) - 1
            if count > 0:
                self._runs[run_id] = count
            else:
                self._runs.pop(run_id, None)
