"""Log lines: what becomes of runs and steps, for people who look at a terminal or search the logs.

No line holds payloads, tokens or reasons; the message of an exception is what its code has put into it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ..eventlog import events
from ..eventlog.records import raw_fields
from ..store.committed import Happening
from ..values import durations

#: characters of an exception's message within a line; the traceback has all of it
_LONGEST = 300

RUN, STEP = logging.getLogger("django_workflows.run"), logging.getLogger("django_workflows.step")

#: text, its values, and the level where it is not the usual one
_Line = tuple[str, tuple[Any, ...], int | None]
_Writer = Callable[[Happening], _Line]
#: by name: where it is logged, how loudly at most, and who writes the line
_LINES: dict[str, tuple[logging.Logger, int, _Writer]] = {}


class LogLines:
    """The observer that writes them."""

    def wants(self, name: str) -> bool:
        line = _LINES.get(name)
        return line is not None and line[0].isEnabledFor(line[1])

    def observe(self, happening: Happening) -> None:
        logger, usual, write = _LINES[happening.name]
        text, values, other = write(happening)
        level = usual if other is None else other
        error = happening.exception if level >= logging.ERROR else None
        logger.log(level, text, *values, exc_info=error, extra=_extra(happening))


def _extra(happening: Happening) -> dict[str, Any]:
    """The record's attributes. The worker is the one whose attempt it is, where the event or the row says so."""
    found = happening.context()
    worker = happening.facts.get("worker") or (happening.step.worker_id if happening.step is not None else None)
    return found if worker is None else found | {"worker": worker}


def _line(name: str, logger: logging.Logger, level: int) -> Callable[[_Writer], _Writer]:
    def declare(write: _Writer) -> _Writer:
        _LINES[name] = (logger, level, write)
        return write

    return declare


# --- runs ------------------------------------------------------------------------------------------------------------


@_line(events.RunCompleted.type, RUN, logging.INFO)
def _run_completed(happening: Happening) -> _Line:
    run = happening.run
    return "Run %s of %s completed%s.", (run.id, run.workflow, _took(run.started_at, run.completed_at)), None


@_line(events.RunCancelled.type, RUN, logging.INFO)
def _run_cancelled(happening: Happening) -> _Line:
    run = happening.run
    return "Run %s of %s was cancelled%s.", (run.id, run.workflow, _took(run.started_at, run.completed_at)), None


@_line(events.RunFailed.type, RUN, logging.ERROR)
def _run_failed(happening: Happening) -> _Line:
    run = happening.run
    return "Run %s of %s failed: %s", (run.id, run.workflow, _error(happening)), None


@_line("run_blocked", RUN, logging.WARNING)
def _run_blocked(happening: Happening) -> _Line:
    """A warning when it is parked; further tries that end the same way are for debugging."""
    run = happening.run
    level = None if happening.facts["tries"] == 1 else logging.DEBUG
    return "Run %s of %s is blocked: %s", (run.id, run.workflow, happening.facts["reason"]), level


@_line("run_unblocked", RUN, logging.INFO)
def _run_unblocked(happening: Happening) -> _Line:
    return "Run %s of %s is no longer blocked.", (happening.run.id, happening.run.workflow), None


def _took(began: datetime | None, ended: datetime | None) -> str:
    return "" if began is None or ended is None else f" in {durations.humanize(ended - began)}"


# --- steps -----------------------------------------------------------------------------------------------------------


@_line(events.StepCompleted.type, STEP, logging.DEBUG)
def _step_completed(happening: Happening) -> _Line:
    return "Step %s, attempt %d, of run %s completed.", _step(happening), None


@_line(events.StepRetrying.type, STEP, logging.WARNING)
def _step_retrying(happening: Happening) -> _Line:
    assert happening.record is not None
    if raw_fields(happening.record).get("lost"):  # a lost worker has a line of its own; to give a step back is no fault
        return "Step %s, attempt %d, of run %s waits for a worker again.", _step(happening), logging.DEBUG
    delay = durations.humanize(happening.record.payload["retry_at"] - happening.record.created_at)
    text = "Step %s, attempt %d, of run %s failed and is tried again in %s: %s"
    return text, (*_step(happening), delay, _error(happening)), None


@_line(events.StepFailed.type, STEP, logging.ERROR)
def _step_failed(happening: Happening) -> _Line:
    return "Step %s, attempt %d, of run %s failed: %s", (*_step(happening), _error(happening)), None


@_line("worker_lost", STEP, logging.WARNING)
def _worker_lost(happening: Happening) -> _Line:
    worker = happening.facts["worker"]
    return "Step %s, attempt %d, of run %s lost its worker %s.", (*_step(happening), worker), None


def _step(happening: Happening) -> tuple[str, int, str]:
    context = happening.context()
    return context["step"], context["attempt"], happening.run.id


def _error(happening: Happening) -> str:
    """Type and message in one line, from the log: printing the exception itself could fail."""
    error = raw_fields(happening.record).get("error") if happening.record is not None else None
    if not isinstance(error, dict):
        return "no error is recorded"
    message = " ".join(str(error["message"]).split())
    message = message if len(message) <= _LONGEST else f"{message[:_LONGEST]}…"
    return f"{error['type']}: {message}" if message else str(error["type"])
