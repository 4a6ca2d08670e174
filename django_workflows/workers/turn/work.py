"""One run in one turn: the value that goes through the turn's stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...eventlog.events import Record
from ...store.transition import Transition
from ..attempts.attempts import Attempt, Outcome
from .bodies import Body


@dataclass(slots=True, eq=False)
class Work:
    """What each stage adds is grouped below; a stage reads only what those before it have added."""

    # gathered
    run_id: str
    outcomes: list[Outcome] = field(default_factory=list)
    #: pending steps (correlation ids) that this worker wants to start now
    starts: list[str] = field(default_factory=list)
    #: the log has grown in another transaction: a cached body has to catch up under the run's lock
    needs_catch_up: bool = False
    #: how often another transaction was found to hold the run
    tries: int = 0
    #: how often the store refused what it holds
    refusals: int = 0

    # loaded
    transition: Transition = field(init=False)
    #: None where the run has ended or its workflow is unknown here
    body: Body | None = None
    #: records that the body has not seen yet
    unseen: Sequence[Record] = ()

    # decided
    attempts: Sequence[Attempt] = ()
    #: steps (correlation ids) that may start here and found no slot
    without_slot: Sequence[str] = ()
    #: the next decision needs the run's lock
    needs_lock: bool = False

    # written and settled
    settled: bool = False

    def load(self, transition: Transition, body: Body | None, unseen: Sequence[Record] = ()) -> None:
        self.transition, self.body, self.unseen = transition, body, unseen

    def start_over(self) -> None:
        """Nothing of it was written: what was added since it was gathered does not hold."""
        self.body, self.unseen = None, ()
        self.attempts, self.without_slot, self.needs_lock = (), (), False
