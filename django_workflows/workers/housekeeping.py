"""What a worker does beside its turns: rescue the steps of dead workers, deliver what runs owe each other, remove what is old.

All of it has a thread and a connection of its own, so that no turn and no heartbeat waits for it. Each chore fails apart
from the others: it pauses, longer each time, and the log says why.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.db import connections

from ..store import faults

logger = logging.getLogger("django_workflows.worker")

#: seconds before a chore that failed is tried again: the first time, and at most
FIRST_PAUSE, LAST_PAUSE = 1.0, 300.0
#: seconds that the end of a worker waits for the chore that is being done
_END_TIME = 5.0


@dataclass(slots=True)
class Chore:
    """``act`` does it. Every ``interval`` seconds, or with None only when it is asked for; ``due_at`` is of time.monotonic().

    ``name`` completes the sentence "Housekeeping could not …".
    """

    name: str
    act: Callable[[], object]
    interval: float | None = None
    due_at: float | None = None
    wanted: bool = False
    failures: int = 0
    #: not before this time, as it has failed
    held_until: float = 0.0

    def next_at(self) -> float | None:
        """When to do it next; None: not before it is asked for."""
        at = 0.0 if self.wanted else self.due_at
        return None if at is None else max(at, self.held_until)


class Housekeeper:
    """The thread of one worker process. It begins with the first :meth:`start`; all else is safe from any thread."""

    def __init__(self, chores: Iterable[Chore]) -> None:
        self._chores = {chore.name: chore for chore in chores}
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._acting = False

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="workflows-housekeeping", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Let the chore that is being done end, within reason, and do no other."""
        with self._change:
            self._stopping = True
            self._change.notify_all()
        if self._thread is not None:
            self._thread.join(_END_TIME)

    def ask(self, name: str) -> None:
        """Have this chore done as soon as possible; not before its pause is over, where it has failed."""
        with self._change:
            self._chores[name].wanted = True
            self._change.notify_all()

    @property
    def is_busy(self) -> bool:
        """Whether a chore is being done, or has been asked for and is not held back."""
        with self._change:
            now = time.monotonic()
            return self._acting or any(c.wanted and c.held_until <= now for c in self._chores.values())

    def _run(self) -> None:
        try:
            while (chore := self._take()) is not None:
                self._do(chore)
        finally:
            connections.close_all()

    def _take(self) -> Chore | None:
        """Wait for the chore that is due first; None: it is time to end."""
        with self._change:
            self._acting = False
            while not self._stopping:
                times = [(at, c) for c in self._chores.values() if (at := c.next_at()) is not None]
                at, chore = min(times, key=lambda item: item[0], default=(None, None))
                now = time.monotonic()
                if chore is not None and at is not None and at <= now:
                    chore.wanted, self._acting = False, True
                    if chore.interval is not None:
                        chore.due_at = now + chore.interval
                    return chore
                self._change.wait(None if at is None else at - now)
        return None

    def _do(self, chore: Chore) -> None:
        try:
            chore.act()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other chores go on
            self._hold(chore, error)
        else:
            if chore.failures:
                logger.info("Housekeeping can %s again.", chore.name)
            chore.failures, chore.held_until = 0, 0.0

    def _hold(self, chore: Chore, error: Exception) -> None:
        fault = faults.classify(error)
        pause = min(FIRST_PAUSE * 2.0**chore.failures, LAST_PAUSE)
        logger.warning(
            "Housekeeping could not %s: %s; it is tried again in %.0f s.",
            chore.name, fault.sentence, pause, exc_info=fault.kind is faults.Kind.OURS,
        )  # fmt: skip
        connections.close_all()
        with self._change:
            chore.failures = min(chore.failures + 1, 10)
            chore.held_until = time.monotonic() + pause
            chore.wanted = True
