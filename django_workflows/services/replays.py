"""Replaying a log away from any worker: to learn why it holds what it holds, or whether the code at hand fits it."""

from __future__ import annotations

from collections.abc import Sequence

from .. import conf
from ..definitions import Workflow
from ..engine import Execution, ExecutionSettings
from ..engine.tracing import Trace, trace
from ..events import Record
from ..exceptions import EntityConflictError
from ..registry import find_workflow
from .urls import webhook_url


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


def trace_log(run_id: str, workflow: Workflow[..., object], log: Sequence[Record]) -> Trace:
    """Replay a whole log, from ``run_created`` on, with the code at hand. Writes nothing.

    Raises:
        CorruptedEventLogError: the log breaks a rule of its own.
    """
    settings = ExecutionSettings(
        max_events=conf.settings.MAX_EVENTS_PER_RUN,
        max_payload_bytes=conf.settings.MAX_PAYLOAD_BYTES,
        webhook_url=webhook_url,
    )
    return trace(Execution(workflow, log[0], run_id=run_id, settings=settings), log)
