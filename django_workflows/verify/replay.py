"""Rule 7: replaying a log makes the same decisions, wherever one cuts it.

A *cut* after event k stands for a worker that has written everything up to k: its decisions are taken there, and the
rest of the log is delivered to it record by record, as to a body that was kept. Every cut begins with a cold replay.
The engine itself compares decision by decision; here is only seen to it that it is asked everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from .. import conf
from ..definitions import Workflow
from ..engine import Execution, ExecutionSettings
from ..events import Record
from ..exceptions import CorruptedEventLogError, ReplayDivergenceError
from ..registry import find_workflow
from ..services.urls import webhook_url
from ..workers import orm_guard
from .violation import Subject, Violation

#: cuts of one log; longer ones are cut at this many places, spread evenly
MAX_CUTS = 40
#: no cut: the whole log is replayed at once
WHOLE = 0


def check_replay(subject: Subject, *, everywhere: bool = False) -> Iterator[Violation]:
    """Replay a run cold and as live, with ``everywhere`` from every cut; not one that is blocked or unknown here."""
    run = subject.run
    workflow = find_workflow(run.workflow)
    if workflow is None or run.blocked_reason or not subject.events or subject.was_erased:
        return
    places = places_of(subject.records) if everywhere else [WHOLE, 1]
    found = replay_log(workflow, run.id, subject.records, places, deadline_at=run.deadline_at, ended=subject.ended)
    for what in found:
        yield subject.says(7, what)
    if not found and _has_forgotten_decisions(subject, workflow):
        yield subject.says(8, "the body has decided more than its log holds, and nothing would wake the run")


def replay_log(
    workflow: Workflow[..., object],
    run_id: str,
    records: Sequence[Record],
    places: Sequence[int],
    *,
    deadline_at: datetime | None,
    ended: bool,
) -> list[str]:
    """Cut the log at these places. What goes wrong, in words: the first thing only, all cuts would say the same."""
    orm_guard.install()

    def fresh() -> Execution:
        return Execution(workflow, records[0], run_id=run_id, deadline_at=deadline_at, settings=_settings())

    retried = any(record.type == "run_retried" for record in records)
    for place in [WHOLE] if retried else places:  # only a whole log can be replayed past a retry
        what = _replay_cut(fresh, records, place, ended=ended)
        if what:
            return [f"cut after event {place}: {what}" if place else what]
    return []


def _settings() -> ExecutionSettings:
    return ExecutionSettings(
        max_events=conf.settings.MAX_EVENTS_PER_RUN,
        max_payload_bytes=conf.settings.MAX_PAYLOAD_BYTES,
        webhook_url=webhook_url,
    )


def places_of(records: Sequence[Record]) -> list[int]:
    """The whole log, and a cut after every event; of a long log, :data:`MAX_CUTS` cuts spread evenly."""
    inner = range(1, len(records))
    if len(inner) <= MAX_CUTS:
        return [WHOLE, *inner]
    return [WHOLE, *(1 + index * (len(records) - 2) // (MAX_CUTS - 1) for index in range(MAX_CUTS))]


def _replay_cut(fresh: Callable[[], Execution], records: Sequence[Record], place: int, *, ended: bool) -> str:
    """Replay up to ``place``, take, deliver the rest, taking after each record."""
    execution = fresh()
    try:
        if place == WHOLE:
            execution.replay(records)
        else:
            _deliver_in_two(execution, records, place)
        left = execution.take() if ended else []
    except (ReplayDivergenceError, CorruptedEventLogError) as error:
        return f"{error.code}: {error}"
    finally:
        execution.close()
    if ended and not execution.finished:
        return "the log has ended and its body has not"
    return f"the log has ended and its body goes on, with {type(left[0]).__name__}" if left else ""


def _deliver_in_two(execution: Execution, records: Sequence[Record], place: int) -> None:
    # Tokens and children's ids are random: whoever made the later decisions drew those that the log holds.
    execution.runtime.ahead.scan(records[1:])
    for record in records[1:]:
        if record.sequence > place:
            execution.take()
        execution.deliver(record)
    execution.runtime.ahead.clear()


def _has_forgotten_decisions(subject: Subject, workflow: Workflow[..., object]) -> bool:
    """Of a live run: whether the next advance has something to write although the run is not due."""
    run = subject.run
    due = run.wake_at is not None and run.wake_at <= subject.now + timedelta(seconds=1)
    if subject.ended or due or run.status != "running":
        return False
    execution = Execution(
        workflow, subject.records[0], run_id=run.id, deadline_at=run.deadline_at, settings=_settings()
    )
    try:
        execution.replay(subject.records)
        return bool(execution.take())
    finally:
        execution.close()
