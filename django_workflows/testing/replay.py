"""Checking that the code still fits a run's log."""

from __future__ import annotations

from typing import Any

from ..authoring.handles import RunHandle
from ..authoring.registry import find_workflow
from ..authoring.workflows import Workflow
from ..eventlog.statuses import TERMINAL_RUN
from ..models import Run
from ..recovery.replay_log import places_of, replay_log
from ..store.event_log import read


def assert_replays(run: RunHandle[Any] | Run | str, *, workflow: Workflow[..., Any] | None = None) -> None:
    """Replay the run's log, whole and from every cut, and fail where the body decides anything else.

    ``workflow``: replay the log with this code instead of the run's own, as after a deploy. The run may still go on.
    """
    run_id = run if isinstance(run, str) else str(run.pk if isinstance(run, Run) else run.id)
    row = Run.objects.get(pk=run_id)
    code = workflow or find_workflow(row.workflow)
    if code is None:
        raise AssertionError(f"Run {run_id} is of {row.workflow}, which no imported module defines.")
    ended = row.status in TERMINAL_RUN
    log = read(run_id)
    wrong = replay_log(code, run_id, log, places_of(log), ended=ended)
    if wrong:
        raise AssertionError(f"The code of {code.name} does not fit the log of {run_id}: {wrong[0]}")
