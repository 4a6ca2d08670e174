"""Does the code at hand still fit a run's log?"""

from __future__ import annotations

from typing import Any

from ..definitions import Workflow
from ..engine import Execution
from ..events import Record
from ..exceptions import ReplayDivergenceError
from ..handles import RunHandle
from ..models import Run
from ..registry import find_workflow
from ..services import database
from ..services.event_log import read


def assert_replays(run: RunHandle[Any] | Run | str, *, workflow: Workflow[..., Any] | None = None) -> None:
    """Replay the run's log, whole and cut after every event, and fail where the body decides anything else.

    ``workflow``: replay the log with this code instead of the run's own, as after a deploy. The run may have ended or not.
    """
    run_id = run if isinstance(run, str) else str(run.pk if isinstance(run, Run) else run.id)
    row = Run.objects.using(database.alias()).get(pk=run_id)
    code = workflow or find_workflow(row.workflow)
    if code is None:
        raise AssertionError(f"Run {run_id} is of {row.workflow}, which no imported module defines.")
    log = read(run_id)
    retried = any(record.type == "run_retried" for record in log)
    cuts = [len(log)] if retried else range(1, len(log) + 1)
    for cut in cuts:
        try:
            _replay(code, row, log, cut)
        except ReplayDivergenceError as error:
            where = "" if cut == len(log) else f" (a worker had taken over after event {cut})"
            raise AssertionError(f"The code of {code.name} does not fit the log of {run_id}{where}: {error}") from error


def _replay(code: Workflow[..., Any], row: Run, log: list[Record], cut: int) -> None:
    """Replay the log up to ``cut`` as a worker does that has just taken over; deliver the rest one by one."""
    execution = Execution(code, log[0], run_id=row.pk, deadline_at=row.deadline_at)
    try:
        execution.replay(log[:cut])
        for record in log[cut:]:
            execution.deliver(record)
    finally:
        execution.close()
