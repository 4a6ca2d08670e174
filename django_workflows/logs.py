"""Logging: which run and step a line belongs to, and no line of a body twice.

``ContextFilter`` is for the project's ``LOGGING``; the rest is installed with the app. Nothing here writes a line.
"""

from __future__ import annotations

import logging
from typing import Any

from .authoring.runtime import RUNTIME

#: attributes of records, where they apply
ATTRIBUTES = ("run_id", "workflow", "step", "step_id", "attempt", "queue", "worker")

#: below every handler's level: no handler takes the record
_DROPPED = -1


class ContextFilter(logging.Filter):
    """Give every record the attributes ``run_id workflow step step_id attempt queue worker``; it lets all records pass.

    Inside steps and bodies they say what the line belongs to, as far as it applies; elsewhere they are empty text, so that
    a format may name them. Attributes that the record has already are kept. Put it on handlers, which see the records of
    all loggers: ``"filters": {"workflows": {"()": "django_workflows.logs.ContextFilter"}}``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        runtime = RUNTIME.get()
        context = {} if runtime is None else runtime.log_context()
        for name in ATTRIBUTES:
            if not hasattr(record, name):
                setattr(record, name, context.get(name, ""))
        return True


def silence_replays() -> None:
    """Drop what bodies log while they are replayed, since they logged it when it happened. Once per process.

    It wraps the factory of log records that is set: one that the project sets later has to call the one before it.
    """
    make = logging.getLogRecordFactory()
    if getattr(make, "silences_replays", False):
        return

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record: logging.LogRecord = make(*args, **kwargs)
        runtime = RUNTIME.get()
        if runtime is not None and runtime.replaying:
            record.levelno = _DROPPED
        return record

    factory.silences_replays = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(factory)
