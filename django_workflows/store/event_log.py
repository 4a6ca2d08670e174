"""The log of a run: ``append`` owns the sequence, ``read`` gives gap-free prefixes."""

from __future__ import annotations

from collections.abc import Sequence

from .. import conf
from ..eventlog.events import AFTER_END, Event, Record
from ..exceptions import CorruptedEventLogError, FenceConflictError, PayloadTooLargeError, RunNotActiveError
from ..models import Event as EventModel
from ..serialization.columns import stored
from ..serialization.encryption import decrypt
from . import database
from .database import Execute
from .transition import EventRow, Transition


def append(
    transition: Transition,
    event: Event,
    correlation_id: str = "",
    *,
    idempotency_key: str | None = None,
    expected_sequence: int | None = None,
) -> Record:
    """Add ``event`` to the log of the transition's run: the next sequence, the transition's time.

    A run that has ended takes only what ends steps that were running, and ``run_retried``.

    Raises:
        RunNotActiveError: the run has ended.
        FenceConflictError: the log has grown since the snapshot ``expected_sequence`` on which the caller decided.
        PayloadTooLargeError: the event's data is larger than ``MAX_PAYLOAD_BYTES``.
    """
    run = transition.run
    if run.ended and event.type not in AFTER_END:
        raise RunNotActiveError(run.id, run.status)
    if expected_sequence is not None and expected_sequence != run.last_sequence:
        raise FenceConflictError(run.id, expected_sequence, run.last_sequence)
    data = event.encode()
    if len(data) > conf.settings.MAX_PAYLOAD_BYTES + 4096:
        raise PayloadTooLargeError(len(data), conf.settings.MAX_PAYLOAD_BYTES)
    run.last_sequence += 1
    run.last_event_at = transition.now
    record = Record(run.last_sequence, event.type, correlation_id, data, transition.now)
    transition.events.append(EventRow(record, run.life, idempotency_key))
    return record


def read(run_id: str, after: int = 0) -> list[Record]:
    """The log of one run in order, from the event after ``after``."""
    return read_many([(run_id, after)])[run_id]


_READ = """
SELECT e.run_id, e.sequence, e.type, e.correlation_id, e.data, e.created_at
FROM unnest(%s::text[], %s::int[]) AS wanted(run_id, after)
JOIN django_workflows_event e ON e.run_id = wanted.run_id AND e.sequence > wanted.after
ORDER BY e.run_id, e.sequence
"""


def unreadable(what: str, error: Exception) -> CorruptedEventLogError:
    """The error for a payload that cannot be read, with a sentence that says why. ``what`` begins it."""
    name = type(error).__name__
    if name == "InvalidToken":  # of the optional package `cryptography`
        return CorruptedEventLogError(f"{what} cannot be decrypted: none of ENCRYPTION_KEYS fits.")
    return CorruptedEventLogError(f"{what} cannot be read: {str(error) or name}")


def read_data(run_id: str, sequence: int, type: str, data: str) -> str:
    """An event's data as encoded JSON.

    Raises:
        CorruptedEventLogError: it cannot be decrypted; the sentence says which event, and why.
    """
    try:
        return decrypt(data)
    except Exception as error:
        raise unreadable(f"Event {sequence} ({type}) of {run_id}", error) from error


def read_many(positions: Sequence[tuple[str, int]], execute: Execute | None = None) -> dict[str, list[Record]]:
    """The logs of several runs, each from the event after its position."""
    logs: dict[str, list[Record]] = {run_id: [] for run_id, _ in positions}
    if execute is not None and positions:
        runs, after = zip(*positions, strict=True)
        for run_id, sequence, type, correlation_id, data, created_at in execute(_READ, [list(runs), list(after)]):
            record = Record(
                sequence, type, correlation_id, read_data(run_id, sequence, type, data), database.aware(created_at)
            )
            logs[run_id].append(record)
    else:
        for run_id, after_sequence in positions:
            rows = EventModel.objects.filter(run_id=run_id, sequence__gt=after_sequence).annotate(**stored("data"))
            columns = ("sequence", "type", "correlation_id", "raw_data", "created_at")
            logs[run_id] = [
                Record(sequence, type, correlation_id, read_data(run_id, sequence, type, data), created_at)
                for sequence, type, correlation_id, data, created_at in rows.order_by("sequence").values_list(*columns)
            ]
    for run_id, position in positions:
        _check_dense(run_id, position, logs[run_id])
    return logs


def _check_dense(run_id: str, after: int, records: list[Record]) -> None:
    if records and (records[0].sequence != after + 1 or records[-1].sequence != after + len(records)):
        raise CorruptedEventLogError(f"The log of {run_id} has a gap after event {after}; run `workflows verify`.")


def find_last(run_id: str, type: str) -> Record | None:
    """The last event of a type in a run's log."""
    rows = EventModel.objects.filter(run_id=run_id, type=type).order_by("-sequence")
    row = rows.first()
    return None if row is None else row.record
