"""Why a log holds what it holds: which event led the body to each of its decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..eventlog.commands import Command, EndRun
from ..eventlog.events import RUN_TERMINALS, Record
from ..exceptions import ReplayDivergenceError
from .execution import Execution


@dataclass(slots=True)
class Trace:
    """``causes``: from a decision's sequence to that of the record whose delivery made the body decide it.

    ``end_cause``: the same for the end of the run, None where the end was imposed on the body. ``divergence``: where
    this code no longer makes the decisions of the log; nothing is known of those from there on. ``patches``: the
    answers that ``patched()`` has given.
    """

    causes: dict[int, int] = field(default_factory=dict)
    end_cause: int | None = None
    divergence: ReplayDivergenceError | None = None
    patches: dict[str, bool] = field(default_factory=dict)


def trace(execution: Execution, log: Sequence[Record]) -> Trace:
    """Replay a whole log, from ``run_created`` on, in a new execution, which is closed afterwards.

    Raises:
        CorruptedEventLogError: the log breaks a rule of its own.
    """
    found = Trace()

    def note(record: Record, decision: Command | None) -> None:
        if record.type in RUN_TERMINALS:
            found.end_cause = decision.cause if isinstance(decision, EndRun) else None
        elif decision is not None:
            found.causes[record.sequence] = decision.cause

    try:
        execution.replay(log, observe=note)
    except ReplayDivergenceError as divergence:
        found.divergence = divergence
    finally:
        found.patches = dict(execution.runtime.patches)
        execution.close()
    return found
