"""Why a log holds what it holds: which event led the body to each of its decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..eventlog import lives
from ..eventlog.commands import EndRun
from ..eventlog.events import RUN_TERMINALS, Record
from ..exceptions import ReplayDivergenceError
from . import sandbox
from .execution import _QUIET, Execution


@dataclass(slots=True)
class Trace:
    """``causes``: from a decision's sequence to that of the record whose delivery made the body decide it.

    ``end_cause``: the same for the end of the run, None where the end was imposed on the body. ``divergence``: where
    the code at hand no longer makes the decisions of the log; nothing is known of those from there on. ``patches``: the
    answers that ``patched()`` has given.
    """

    causes: dict[int, int] = field(default_factory=dict)
    end_cause: int | None = None
    divergence: ReplayDivergenceError | None = None
    patches: dict[str, bool] = field(default_factory=dict)


def trace(execution: Execution, log: Sequence[Record]) -> Trace:
    """Replay a whole log, from ``run_created`` on, in a new execution, which is closed afterwards."""
    found = Trace()
    records = [record for record in lives.effective(log) if record.type not in _QUIET]
    runtime = execution.runtime
    runtime.numbering.reserve(lives.reserved_ids(log))
    runtime.ahead.scan(records)
    try:
        with sandbox.draining(), runtime.loop:
            for record in records:
                _feed(execution, record, found)
    except ReplayDivergenceError as divergence:
        found.divergence = divergence
    finally:
        found.patches = dict(runtime._patches)
        execution.close()
    return found


def _feed(execution: Execution, record: Record, found: Trace) -> None:
    head = execution.runtime.decisions.head() if record.is_decision else None
    execution._feed(record)
    if record.type in RUN_TERMINALS:
        found.end_cause = head.cause if isinstance(head, EndRun) else None
    elif head is not None:
        found.causes[record.sequence] = head.cause
