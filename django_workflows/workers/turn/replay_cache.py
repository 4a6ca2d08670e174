"""From a locked run to its body: the cached one if it fits the log, otherwise a replay from the first event."""

from __future__ import annotations

from collections.abc import Sequence

from ...authoring.registry import find_workflow
from ...engine import Execution
from ...eventlog import events
from ...eventlog.events import Record
from ...exceptions import CorruptedEventLogError
from ...recovery.replay_log import execution_settings
from ...store import locking
from ...store.event_log import read_many
from ...store.transition import Transition
from ..link.connection import AdvancingConnection
from ..link.watchdog import Watchdog
from .bodies import Bodies, Body
from .work import Work


class ReplayCache:
    """Replays what the cached bodies do not cover."""

    def __init__(self, bodies: Bodies, connection: AdvancingConnection, watchdog: Watchdog) -> None:
        self._bodies, self._connection, self._watchdog = bodies, connection, watchdog
        self._settings = execution_settings()

    def cached_if_current(self, locked: Transition) -> Body | None:
        """The cached body, if the log ends where it stands; the transition continues with its entities."""
        body = self._bodies.get(locked.run.id)
        if body is None or not _is_current(body, locked):
            return None
        locked.adopt(body.entities)
        return body

    def load(self, works: Sequence[Work]) -> None:
        """Give each locked run its body and the records to deliver to it: one query for the logs, three for entities.

        ``unseen`` may hold the whole log already, where that came with the lock.

        Raises:
            CorruptedEventLogError: a log does not end where its run's row says.
        """
        waiting: list[tuple[Work, Body | None]] = []
        for work in works:
            run = work.transition.run
            if run.ended or find_workflow(run.workflow) is None:
                work.body, work.unseen = None, ()
            elif (body := self.cached_if_current(work.transition)) is not None:
                work.body, work.unseen = body, ()
            elif work.unseen:
                self._replay_later(work, work.unseen)
            else:
                waiting.append((work, self._outdated(work.transition)))
        if waiting:
            self._read(waiting)

    def catch_up(self, work: Work) -> None:
        """Deliver what the body has not seen; a fresh body replays its whole log.

        Raises:
            ReplayDivergenceError: the code does not fit the log.
        """
        if work.body is None or not work.unseen:
            return
        execution = work.body.execution
        self._watchdog.mark(work.run_id)
        try:
            if work.unseen[0].sequence == 1:
                execution.replay(work.unseen, seen=_seen_before(work))
            else:
                for record in work.unseen:
                    execution.deliver(record)
        finally:
            self._watchdog.clear()

    def _outdated(self, locked: Transition) -> Body | None:
        """A cached body that others have written past; it may be able to catch up."""
        body = self._bodies.get(locked.run.id)
        if body is not None and body.entities.run.last_sequence >= locked.run.last_sequence:
            self._bodies.drop(locked.run.id)  # the log was replaced: a restored database
            return None
        return body

    def _read(self, waiting: Sequence[tuple[Work, Body | None]]) -> None:
        execute = self._connection.execute_or_none
        positions = [
            (work.run_id, 0 if outdated is None else outdated.entities.run.last_sequence - 1)
            for work, outdated in waiting
        ]
        logs = read_many(positions, execute)
        stale: list[Transition] = []
        for work, outdated in waiting:
            log, run = logs[work.run_id], work.transition.run
            if not log or log[-1].sequence != run.last_sequence:
                raise CorruptedEventLogError(f"The log of {run.id} ends before event {run.last_sequence}.")
            if outdated is not None and _continues(outdated, log):
                work.transition.adopt(outdated.entities)
                work.body, work.unseen = outdated, log[1:]
                if any(record.type in events.CHANGES_ENTITY_ROWS for record in work.unseen):
                    stale.append(work.transition)
                continue
            if outdated is not None:
                self._bodies.drop(run.id)
                log = read_many([(run.id, 0)], execute)[run.id]
            self._replay_later(work, log)
            stale.append(work.transition)
        if stale:
            _read_entities(stale)

    def _replay_later(self, work: Work, log: Sequence[Record]) -> None:
        """A fresh body, to be fed with the whole log by :meth:`catch_up`."""
        run = work.transition.run
        workflow = find_workflow(run.workflow)
        assert workflow is not None
        execution = Execution(workflow, log[0], run_id=run.id, settings=self._settings)
        work.body, work.unseen = Body(execution, work.transition.entities), log


def _is_current(body: Body, locked: Transition) -> bool:
    mine, run = body.entities.run, locked.run
    return mine.last_sequence == run.last_sequence and mine.last_event_at == run.last_event_at


def _seen_before(work: Work) -> int:
    """The last record of the log that an earlier body has most likely been fed with.

    All but what came last and made the run due: arrivals that other transactions than advances write.
    """
    log, wake_at = work.unseen, work.transition.run.wake_at
    if wake_at is None or log[-1].created_at < wake_at:
        return log[-1].sequence
    count = len(log)
    while count and (log[count - 1].type in _FROM_OUTSIDE or log[count - 1].created_at == wake_at):
        count -= 1
    return count


#: arrivals that no advance of the run writes
_FROM_OUTSIDE = frozenset(
    cls.type
    for cls in (
        events.HookReceived,
        events.ChildCompleted,
        events.ChildFailed,
        events.RunCancelRequested,
    )
)


def _continues(outdated: Body, log: Sequence[Record]) -> bool:
    """Whether the log still has the body's last event in its place, and was not reopened since."""
    seen = outdated.entities.run
    if log[0].sequence != seen.last_sequence or log[0].created_at != seen.last_event_at:
        return False
    return all(record.type != events.RunRetried.type for record in log[1:])


def _read_entities(transitions: Sequence[Transition]) -> None:
    for transition in transitions:
        transition.entities.steps.clear()
        transition.entities.waits.clear()
        transition.entities.hooks.clear()
    locking.read_entities([transition.entities for transition in transitions])
