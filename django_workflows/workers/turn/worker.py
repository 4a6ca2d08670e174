"""What a turn asks of the worker around it."""

from __future__ import annotations

from typing import Protocol

from ...store.claims import WorkerScope
from ..attempts.slots import Slots
from ..executors.protocol import Executor
from ..link.watchdog import Watchdog


class Worker(Protocol):
    """The worker process, or a test's driver in its place."""

    #: the first half of each lease that a turn writes
    worker_id: str
    #: which runs and steps it may take
    scope: WorkerScope
    #: how many attempts it may begin
    slots: Slots
    #: where it says in which run a body computes
    watchdog: Watchdog
    #: what is given each attempt once its start is committed
    executor: Executor

    def wake(self) -> None:
        """Have the main loop take the turn in a moment. Safe from any thread."""
