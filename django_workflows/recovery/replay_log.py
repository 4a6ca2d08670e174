"""Replaying a log away from any worker: whether this code fits it, and why it holds what it holds.

A *cut* after event k stands for a worker that has written everything up to k: its decisions are taken there, and the
rest of the log is delivered to it record by record, as to a body that was kept. Every cut begins with a cold replay.
The engine itself compares decision by decision; this module only makes sure that every cut is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .. import conf
from ..authoring.registry import find_workflow
from ..authoring.workflows import Workflow
from ..engine import Execution, ExecutionSettings
from ..engine.tracing import Trace, trace
from ..eventlog import events
from ..eventlog.events import Record
from ..exceptions import CorruptedEventLogError, EntityConflictError, ReplayDivergenceError
from ..store import orm_guard
from ..store.webhook_url import webhook_url

#: cuts of one log; longer ones are cut at this many places, spread evenly
MAX_CUTS = 40
#: no cut: the whole log is replayed at once
WHOLE = 0


def require_workflow(name: str) -> Workflow[..., object]:
    """The workflow of this name.

    Raises:
        EntityConflictError: this process does not know it, so it cannot tell what its runs would do.
    """
    workflow = find_workflow(name)
    if workflow is None:
        raise EntityConflictError(
            f"No workflow is called {name!r} here, so its log cannot be read. Do this where the workflow is defined."
        )
    return workflow


def execution_settings() -> ExecutionSettings:
    """The engine's settings in this process, live and on replay: the limit of a value, and the address of webhooks."""
    return ExecutionSettings(
        max_payload_bytes=conf.settings.MAX_PAYLOAD_BYTES,
        webhook_url=webhook_url,
    )


def trace_log(run_id: str, workflow: Workflow[..., object], log: Sequence[Record]) -> Trace:
    """Replay a whole log, from ``run_created`` on, with the code of this process. Writes nothing.

    Raises:
        CorruptedEventLogError: the log breaks a rule of its own.
    """
    return trace(Execution(workflow, log[0], run_id=run_id, settings=execution_settings()), log)


def replay_log(
    workflow: Workflow[..., object],
    run_id: str,
    records: Sequence[Record],
    places: Sequence[int],
    *,
    ended: bool,
) -> list[str]:
    """Cut the log at these places. What goes wrong, in words: the first thing only, all cuts would say the same."""
    orm_guard.install()

    def fresh() -> Execution:
        return Execution(workflow, records[0], run_id=run_id, settings=execution_settings())

    retried = any(record.type == events.RunRetried.type for record in records)
    for place in [WHOLE] if retried else places:  # only a whole log can be replayed past a retry
        what = _replay_cut(fresh, records, place, ended=ended)
        if what:
            return [f"cut after event {place}: {what}" if place else what]
    return []


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
    return f"the log has ended and its body continues with {type(left[0]).__name__}" if left else ""


def _deliver_in_two(execution: Execution, records: Sequence[Record], place: int) -> None:
    # Tokens and children's ids are random: the later decisions drew those that the log holds.
    execution.runtime.ahead.scan(records[1:])
    execution.runtime.replaying = True
    for record in records[1:]:
        if record.sequence > place:
            execution.take()
        execution.deliver(record)
    execution.runtime.ahead.clear()
