"""After a transition: its body is kept or put away, its attempts begin, and others are rung for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from ...eventlog.statuses import StepStatus
from ...services import outbox
from ...store.transition import Transition
from ...store.write import notify_others
from ..attempts.attempts import Attempt
from ..attempts.slots import Slots
from ..link.connection import AdvancingConnection
from .bodies import Bodies, Body
from .load import Crowd
from .transition_steps import Advance, Work


class Result:
    """What one run's transition came to, to be settled once it is committed."""

    __slots__ = ("attempts", "body", "left", "transition", "work")

    def __init__(self, work: Work, transition: Transition, body: Body | None) -> None:
        self.work, self.transition, self.body = work, transition, body
        self.attempts: list[Attempt] = []
        self.left: list[str] = []


class Settling:
    """What both ways of writing share: the bodies, the slots, and the attempts in hand."""

    def __init__(
        self,
        advance: Advance,
        bodies: Bodies,
        connection: AdvancingConnection,
        slots: Slots,
        begin: Callable[[Attempt], None],
    ) -> None:
        self._advance, self._bodies, self._connection, self._slots = advance, bodies, connection, slots
        self._begin = begin
        self.crowd = Crowd()
        #: attempts in hand by step id, from their start's commit to their outcome
        self.in_hand: dict[str, Attempt] = {}
        #: nothing is in hand: whoever waits for more to come in need not wait longer
        self.all_reported = threading.Event()
        #: steps (run id, correlation id) that found no slot
        self.backlog: deque[tuple[str, str]] = deque()
        self.begun: list[Attempt] = []
        self._done: list[Transition] = []

    def release(self, attempt: Attempt) -> None:
        """The attempt has an outcome."""
        if self.in_hand.get(attempt.step.id) is attempt:
            del self.in_hand[attempt.step.id]
            if not self.in_hand:
                self.all_reported.set()

    def start_steps(self, result: Result) -> None:
        """Start what there are slots for, and tell the body of it."""
        result.attempts, result.left = self._advance.start_steps(result.transition, result.work.starts)
        if result.body is not None and not result.transition.run.ended:
            for record in result.transition.records(result.body.execution.last_sequence):
                result.body.execution.deliver(record)

    def give_up(self, result: Result, leftover: list[Work], *, contended: bool = False) -> None:
        """Nothing of it was written: leave the work to the locked way."""
        self._slots.free_slot(len(result.attempts))
        result.attempts = []
        self._bodies.drop(result.work.run_id, contended=contended)
        leftover.append(result.work)

    def undo(self, results: Sequence[Result]) -> None:
        """A transaction failed: nothing of these was written."""
        for result in results:
            self._slots.free_slot(len(result.attempts))
            result.attempts = []
            self._bodies.drop(result.work.run_id)
            if result.body is not None:
                self._bodies.close(result.body)

    def settle(self, result: Result, *, keep: bool = True) -> None:
        """The transition is committed: keep or drop its body, and note what follows from it."""
        run = result.transition.run
        self.crowd.note(run.id)
        if result.body is None or run.ended:
            if keep:
                self._bodies.drop(run.id)
            if result.body is not None:
                self._bodies.close(result.body)
        else:
            self._bodies.put(run.id, result.body)
        self.backlog.extend((run.id, correlation_id) for correlation_id in result.left)
        self.begun.extend(result.attempts)
        for step in result.transition.changed_steps.values():
            if step.status == StepStatus.CANCELLED and (attempt := self.in_hand.get(step.id)) is not None:
                attempt.cancel()
        self._done.append(result.transition)

    def begin_attempts(self) -> None:
        """Their starts are committed."""
        begun, self.begun = self.begun, []
        if begun:
            self.all_reported.clear()
        for attempt in begun:
            self.in_hand[attempt.step.id] = attempt
            self._begin(attempt)

    def hand_out(self) -> list[Transition]:
        """Let the attempts begin; then ring for others, and pay what is owed to other runs. Returns what was done."""
        self.begin_attempts()
        done, self._done = self._done, []
        notify_others(done, self._connection.execute_or_none)
        if any(transition_.outbox for transition_ in done):
            outbox.flush_outbox()
        return done

    def forget(self) -> None:
        """The database is away: nothing that was not committed has happened."""
        self._bodies.clear()
        self.backlog.clear()
        self._slots.free_slot(len(self.begun))
        self.begun.clear()
        self._done.clear()
