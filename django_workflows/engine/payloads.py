"""Reading what events carry, in the body's process: values, and the exceptions of failed steps."""

from __future__ import annotations

from typing import Any

from ..eventlog.events import Record
from ..exceptions import ReplayDivergenceError, SerializationError, StepFailedError
from ..serialization import decode_error


def read(record: Record) -> dict[str, Any]:
    """The record's payload, decoded anew at each call.

    Raises :class:`ReplayDivergenceError` where this code cannot read it (a class is gone, say): the code is at fault,
    so the run is parked until code comes that can; the body must not decide anything by it. Raises
    :class:`CorruptedEventLogError` where no code could.
    """
    try:
        payload = record.decode()
    except SerializationError as error:
        raise ReplayDivergenceError(
            f"{record.type} {record.correlation_id}".rstrip(), f"it cannot be read here ({error})", record.sequence
        ) from error
    return payload


def step_error(name: str, error: dict[str, Any]) -> BaseException:
    """The exception with which a step failed, rebuilt; where that cannot be, a :class:`StepFailedError` about it."""
    rebuilt = decode_error(error)
    if rebuilt is None:
        rebuilt = StepFailedError(name, error["type"], error["message"], error.get("traceback") or "")
        cause = error.get("cause")
        if isinstance(cause, dict):
            rebuilt.__cause__ = decode_error(cause)
    if traceback := error.get("traceback"):
        rebuilt.add_note(f"In step {name}:\n{traceback.rstrip()}")
    return rebuilt
