"""What the turn, the dispatcher and the executors ask of each other."""

from __future__ import annotations

from typing import Protocol

from ..attempts.attempts import Attempt, Outcome


class Executor(Protocol):
    """Where attempts run."""

    def begin(self, attempt: Attempt) -> None:
        """Run an attempt whose start is committed, now or soon. Returns at once; how it went is reported later."""

    def cancel(self, attempt: Attempt) -> None:
        """Its outcome is not wanted any more: interrupt it where that is possible. Safe from any thread."""


class Ends(Protocol):
    """Where an executor says how an attempt went. Each attempt that has begun ends exactly once."""

    def end(self, outcome: Outcome, *, take_turn: bool) -> None:
        """Free the attempt's slot, report the outcome, begin what waits.

        ``take_turn``: the calling thread has nothing else to do, and takes the turn if it is free; else the main loop does.
        """


class Turns(Protocol):
    """What the dispatcher asks of the turn. Safe from any thread."""

    def report(self, outcome: Outcome) -> None:
        """Take an outcome, for the next turn to record."""

    def try_turn(self) -> None:
        """Take the turn, unless another thread has it."""

    def wake(self) -> None:
        """Have the main loop take the turn soon."""
