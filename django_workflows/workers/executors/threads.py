"""``def`` steps: threads that each run one attempt after another."""

from __future__ import annotations

import queue
import threading

from ..attempts.attempts import Attempt
from ..attempts.pipeline import run_attempt
from .protocol import Ends


class _Place(threading.local):
    """What the calling thread may run next, if it is one of ours."""

    #: it has just ended an attempt: the next that is begun from here runs here, without a change of thread
    free = False
    following: Attempt | None = None


class ThreadExecutor:
    """A pool that grows by a thread whenever none is idle; the dispatcher bounds how many attempts run at once."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._queue: queue.SimpleQueue[Attempt] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._threads = 0
        self._place = _Place()

    def begin(self, attempt: Attempt) -> None:
        if self._place.free:
            self._place.free, self._place.following = False, attempt
            return
        if not self._idle.acquire(blocking=False):
            self._grow()
        self._queue.put(attempt)

    def cancel(self, attempt: Attempt) -> None:
        """A thread cannot be interrupted; its function may ask ``get_step_metadata().cancelled``."""

    def _grow(self) -> None:
        with self._lock:
            self._threads += 1
            name = f"workflows-step-{self._threads}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while True:
            following: Attempt | None = self._queue.get()
            while following is not None:
                following = self._run(following)
            self._idle.release()

    def _run(self, attempt: Attempt) -> Attempt | None:
        """Run one attempt. Returns what its end, or the turn that follows, has begun in this thread."""
        outcome = run_attempt(attempt)
        place = self._place
        place.free, place.following = True, None
        self._ends.end(outcome, take_turn=True)
        place.free = False
        return place.following
