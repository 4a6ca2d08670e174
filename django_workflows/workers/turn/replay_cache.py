"""Finding the body of a locked run: the one at hand if it fits the log, otherwise a replay from the first event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...authoring.registry import find_workflow
from ...engine import Execution, ExecutionSettings
from ...eventlog.events import Record
from ...exceptions import CorruptedEventLogError
from ...store import locking
from ...store.claims import Claimed
from ...store.event_log import read_many
from ...store.transition import Transition
from ..link.connection import AdvancingConnection
from ..link.watchdog import Watchdog
from .bodies import Bodies, Body

#: events of others after which open entities are read again
_TOUCHES_ENTITIES = ("step_", "wait_", "hook_created", "hook_disposed", "run_retried")


@dataclass(slots=True)
class Recalled:
    """``body`` is None where the run has ended or its workflow is unknown here. ``foreign``: what it has not seen yet."""

    transition: Transition
    body: Body | None
    foreign: list[Record]


class Recall:
    def __init__(
        self, bodies: Bodies, connection: AdvancingConnection, settings: ExecutionSettings, watchdog: Watchdog
    ) -> None:
        self._bodies = bodies
        self._connection = connection
        self._settings = settings
        self._watchdog = watchdog

    def in_step(self, locked: Transition) -> Body | None:
        """The body at hand, if the log ends where it stands; the transition goes on with its entities."""
        body = self._bodies.get(locked.run.id)
        if body is None or not _fits(body, locked):
            return None
        locked.adopt(body.entities)
        return body

    def bodies_for(self, claimed: Sequence[Claimed]) -> list[Recalled]:
        """For each locked run its body and the records to deliver to it: one query for the logs, three for entities."""
        recalled: list[Recalled] = []
        positions: list[tuple[str, int]] = []
        waiting: list[tuple[Recalled, Body | None]] = []
        for item in claimed:
            transition, run = item.transition, item.transition.run
            if run.ended or find_workflow(run.workflow) is None:
                recalled.append(Recalled(transition, None, []))
                continue
            body = self.in_step(transition)
            found = Recalled(transition, body, [])
            recalled.append(found)
            if body is not None:
                continue
            if item.log is not None:
                self._build(found, item.log)
                continue
            stale = self._bodies.get(run.id)
            if stale is not None and stale.entities.run.last_sequence >= run.last_sequence:
                self._bodies.drop(run.id)  # the log was replaced: a restored database
                stale = None
            positions.append((run.id, stale.entities.run.last_sequence - 1 if stale is not None else 0))
            waiting.append((found, stale))
        if waiting:
            self._read(positions, waiting)
        return recalled

    def _read(self, positions: list[tuple[str, int]], waiting: list[tuple[Recalled, Body | None]]) -> None:
        execute = self._connection.execute if self._connection.is_postgresql else None
        logs = read_many(positions, execute)
        unread = []
        for found, stale in waiting:
            run = found.transition.run
            log = logs[run.id]
            if not log or log[-1].sequence != run.last_sequence:
                raise CorruptedEventLogError(f"The log of {run.id} ends before event {run.last_sequence}.")
            if stale is not None and self._continue(found, stale, log):
                if any(record.type.startswith(_TOUCHES_ENTITIES) for record in found.foreign):
                    unread.append(found.transition)
                continue
            if stale is not None:
                self._bodies.drop(run.id)
                log = read_many([(run.id, 0)], execute)[run.id]
            self._build(found, log)
            unread.append(found.transition)
        for transition in unread:
            transition.entities.steps.clear()
            transition.entities.waits.clear()
            transition.entities.hooks.clear()
        if unread:
            locking.read_entities([transition.entities for transition in unread])

    def _continue(self, found: Recalled, stale: Body, log: list[Record]) -> bool:
        """Use the body at hand with what others have added, if the log still has its last event in its place."""
        before = stale.entities.run
        if log[0].sequence != before.last_sequence or log[0].created_at != before.last_event_at:
            return False
        if any(record.type == "run_retried" for record in log[1:]):
            return False
        found.transition.adopt(stale.entities)
        found.body, found.foreign = stale, log[1:]
        return True

    def _build(self, found: Recalled, log: list[Record]) -> None:
        run = found.transition.run
        workflow = find_workflow(run.workflow)
        assert workflow is not None
        execution = Execution(workflow, log[0], run_id=run.id, deadline_at=run.deadline_at, settings=self._settings)
        found.body = Body(execution, found.transition.entities)
        found.foreign = log

    def catch_up(self, body: Body, foreign: Sequence[Any]) -> None:
        """Deliver what the body has not seen; a fresh body replays its whole log."""
        if not foreign:
            return
        self._watchdog.mark(body.entities.run.id)
        try:
            if foreign[0].sequence == 1:
                body.execution.replay(foreign)
            else:
                for record in foreign:
                    body.execution.deliver(record)
        finally:
            self._watchdog.clear()


def _fits(body: Body, locked: Transition) -> bool:
    mine, run = body.entities.run, locked.run
    return mine.last_sequence == run.last_sequence and mine.last_event_at == run.last_event_at
