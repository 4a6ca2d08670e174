"""Runs as JSON: to look at a production run elsewhere, to keep logs as tests, to replay them before a deploy.

A history is one object; a file holds one per line. It contains everything that the run was given and gave, secrets
such as tokens and seeds included: treat it like a copy of the database. Streams are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.db import IntegrityError

from ..authoring.handles import RunHandle
from ..authoring.registry import find_workflow
from ..eventlog.events import TYPES, Record
from ..eventlog.fold import Fold, fold
from ..eventlog.records import raw_fields, reencode
from ..eventlog.statuses import TERMINAL_RUN
from ..exceptions import EntityConflictError, RunNotFoundError
from ..models import Event, Hook, Run
from ..serialization import dumps
from ..services import creation
from ..store import database
from ..store.transactions import atomic, in_transaction
from . import rebuild
from .replay_log import places_of, replay_log

FORMAT = 1

#: what the run started with and its log does not hold, or not as it is by now
_STARTED_WITH = ("workflow", "queue", "priority", "parent_id", "parent_correlation_id", "detached", "forked_from",
                 "continued_from")  # fmt: skip
_COLUMNS = (*_STARTED_WITH, "status", "code_version", "life")
_MOMENTS = ("created_at", "deadline_at", "expires_at")


# --- out -------------------------------------------------------------------------------------------------------------


def export_run(run_id: str) -> dict[str, Any]:
    """The history of one run, of plain JSON values.

    Raises:
        RunNotFoundError: there is no such run.
    """
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        raise RunNotFoundError(run_id)
    last = run.last_sequence  # what is added meanwhile is left out
    rows = Event.objects.filter(run_id=run_id, sequence__lte=last).order_by("sequence")
    hooks = Hook.objects.filter(run_id=run_id).values_list("correlation_id", "options")
    return {
        "format": FORMAT,
        "id": run.id,
        "run": {
            **{name: getattr(run, name) for name in _COLUMNS},
            **{name: _text(getattr(run, name)) for name in _MOMENTS},
        },
        "hooks": {key: json.loads(dumps(options)) for key, options in hooks if options},
        "events": [_event(row) for row in rows.iterator(chunk_size=500)],
    }


def _event(row: Event) -> dict[str, Any]:
    event = {
        "sequence": row.sequence,
        "type": row.type,
        "correlation_id": row.correlation_id,
        "life": row.life,
        "created_at": _text(row.created_at),
        "data": raw_fields(row.record),
    }
    return event if row.idempotency_key is None else {**event, "idempotency_key": row.idempotency_key}


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def write_line(history: dict[str, Any]) -> str:
    """The history as one line of ASCII text."""
    return json.dumps(history, separators=(",", ":"))


# --- in --------------------------------------------------------------------------------------------------------------


def read_lines(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Histories from the lines of a file; empty lines are passed over.

    Raises:
        ValueError: a line is no history, or one of a newer version; the message says which.
    """
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                history = json.loads(line)
            except ValueError as error:
                raise ValueError(f"Line {number} is not JSON: {error}.") from None
            _check(history, f"Line {number}")
            yield history


def _check(history: Any, where: str) -> None:
    if not isinstance(history, dict) or not {"format", "id", "run", "events"} <= set(history):
        raise ValueError(f"{where} is no history of a run: `workflows export` writes those.")
    if history["format"] != FORMAT:
        raise ValueError(f"{where} has format {history['format']!r}; this version reads format {FORMAT}.")
    sequences = [event["sequence"] for event in history["events"]]
    if not sequences or sequences != list(range(1, len(sequences) + 1)):
        raise ValueError(f"{where}: the events of {history['id']} are not numbered from 1 without a gap.")
    if unknown := {event["type"] for event in history["events"]} - set(TYPES):
        raise ValueError(f"{where}: {history['id']} has events of a type unknown here: {', '.join(sorted(unknown))}.")


def records_of(history: dict[str, Any]) -> list[Record]:
    """The log of a history, as the engine reads it."""
    return [
        Record(
            event["sequence"],
            event["type"],
            event["correlation_id"],
            reencode(event["data"]),
            datetime.fromisoformat(event["created_at"]),
        )
        for event in history["events"]
    ]


def replay_history(history: dict[str, Any]) -> list[str]:
    """Replay a history with the code of this process, cut after every event. Returns a sentence for what goes wrong; [] is good.

    An unknown workflow is something that goes wrong. A history whose payloads were erased cannot be replayed: [].
    """
    workflow = find_workflow(history["run"]["workflow"])
    if workflow is None:
        return [f"no workflow is called {history['run']['workflow']!r} here"]
    records = records_of(history)
    if raw_fields(records[0]).get("erased"):
        return []
    ended = history["run"]["status"] in TERMINAL_RUN
    return replay_log(workflow, history["id"], records, places_of(records), ended=ended)


@in_transaction
def import_history(history: dict[str, Any], *, activate: bool = False) -> RunHandle[Any]:
    """Store a history as a run with all its rows. An ended run is only there to be looked at.

    ``activate``: store a run that has not ended, too. Workers advance it, so make sure that no other database's do.

    Raises:
        EntityConflictError: the run has not ended and ``activate`` is not set; or a run with its id, idempotency key or
            an open token exists here already.
    """
    run, records = history["run"], records_of(history)
    ended = run["status"] in TERMINAL_RUN
    if not ended and not activate:
        raise EntityConflictError(
            f"Run {history['id']} is {run['status']}: workers here would advance it. Import it with activate=True "
            "(--activate) if no other database has it; to inspect it, replay_history() needs no database."
        )
    folded = fold(records)
    row = _run(history, records[0], folded)
    lives = [(event["life"], event.get("idempotency_key")) for event in history["events"]]
    try:
        with atomic():
            Run.objects.bulk_create([row])
            rebuild.insert_events(row.id, ((r, *live) for r, live in zip(records, lives, strict=True)))
            rebuild.insert_entities(row, folded, history.get("hooks"))
    except IntegrityError as error:
        raise EntityConflictError(
            f"Run {row.id} cannot be imported: it, its idempotency key or one of its tokens is here already ({error})."
        ) from None
    if not ended:
        database.notify(database.WORK, [row.id])
    return RunHandle(row.id)


def _run(history: dict[str, Any], created: Record, folded: Fold) -> Run:
    given = history["run"]
    started_with = {name: given[name] for name in _STARTED_WITH}
    if not Run.objects.filter(pk=started_with["parent_id"]).exists():
        started_with["parent_id"] = None
    row = creation.row_of(rebuild.new_run_of(created, id=history["id"], **started_with), database.now())
    if folded.terminal is not None:
        row.wake_at = None
    columns = {**rebuild.run_columns(folded), "code_version": given["code_version"]}
    for name, value in {**columns, **{name: _moment(given[name]) for name in _MOMENTS}}.items():
        setattr(row, name, value)
    return row


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


__all__ = [
    "export_run",
    "import_history",
    "read_lines",
    "records_of",
    "replay_history",
    "write_line",
]
