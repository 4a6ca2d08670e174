"""What the turn, the dispatcher and the executors ask of each other."""

from __future__ import annotations

from typing import Protocol

from ..attempts.attempts import Attempt, Outcome


class Executor(Protocol):
    """Where attempts run."""

    def begin(self, attempt: Attempt) -> None:
        """Run an attempt whose start is committed, now or soon. Returns at once; never raises for the step's sake."""

    def cancel(self, attempt: Attempt) -> None:
        """Its outcome is not wanted any more: interrupt it where that is possible. Safe from any thread."""


class Ends(Protocol):
    """Where an executor says how an attempt went. Each attempt that has begun ends exactly once."""

    def end(self, outcome: Outcome) -> None:
        """Free the attempt's slot, begin what waits for one, report the outcome. The main loop takes the next turn."""

    def end_and_advance(self, outcome: Outcome) -> None:
        """As :meth:`end`; but the calling thread, which has nothing else to do, takes the turn itself if it is free."""


class Turns(Protocol):
    """What the dispatcher asks of the turn. Safe from any thread."""

    def report(self, outcome: Outcome) -> None:
        """Take an outcome, for the next turn to record."""

    def try_turn(self) -> None:
        """Take the turn, unless another thread has it."""

    def wake(self) -> None:
        """Have the main loop take the turn soon."""
