"""Erasing what people put into runs, and keeping the shape of their logs: which events there were, and when.

Arguments, results, payloads, messages of errors, attributes, tokens and stream chunks are replaced by ``"[erased]"``.
Names, ids, statuses, times and idempotency keys stay. Only ended runs can be erased: active ones need what they
know.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..eventlog.events import TYPES, Record, RunCreated, Shape
from ..eventlog.fold import CHANGE_ATTRIBUTES, attributes_of
from ..eventlog.records import raw_fields, reencode
from ..eventlog.statuses import TERMINAL_RUN
from ..exceptions import RunNotActiveError, RunNotFoundError
from ..models import Event, Hook, Outbox, Run, Step, StreamChunk, WebhookCall
from ..serialization.columns import stored
from ..serialization.encryption import decrypt
from ..store.locking import lock_run
from ..store.transactions import atomic

ERASED = "[erased]"
_BATCH = 500


@dataclass(slots=True)
class Erasure:
    """Run ids. ``active``: left alone, as they, or runs that they started, have not ended."""

    erased: list[str]
    active: list[str]


def erase(attributes: dict[str, str], *, limit: int | None = None) -> Erasure:
    """Erase the payloads of every run that carries all these attributes, and of the runs that it started.

    What a parent recorded of an erased child goes too, once that parent has ended. Each run is a transaction of its
    own, so this can be ended and called again at any time; runs that are erased already no longer carry the
    attributes. At most ``limit`` runs of those found are taken up.

    Raises:
        ValueError: no attribute is given.
    """
    if not attributes:
        raise ValueError("Say by which attribute to erase: customer=c1. Without one, every run would be erased.")
    found = Erasure([], [])
    rows = Run.objects.all().with_attributes(**attributes).order_by("pk").values_list("pk", flat=True)
    for run_id in list(rows[:limit] if limit is not None else rows):
        _erase_family(run_id, found)
    return found


def _erase_family(run_id: str, found: Erasure) -> None:
    """The run and all that it started, directly or not. The youngest come first: while one of them is active, those above
    it keep the attribute by which it will be found again."""
    above, generation = {run_id: ""}, [run_id]
    while generation:
        children = Run.objects.filter(parent_id__in=generation).values_list("pk", "parent_id")
        generation = [pk for pk, parent_id in children if above.setdefault(pk, parent_id) == parent_id]
    kept = set()
    for member, parent_id in reversed(above.items()):
        if member in kept or not _is_erased(member):
            kept.add(parent_id)
            found.active += [member] if member not in found.active else []
        elif member not in found.erased:
            found.erased.append(member)


def _is_erased(run_id: str) -> bool:
    try:
        with atomic():
            erase_run(run_id)
    except RunNotActiveError:
        return False
    except RunNotFoundError:
        pass  # pruned meanwhile
    return True


def erase_run(run_id: str) -> None:
    """Erase one ended run, in the caller's transaction.

    Raises:
        RunNotFoundError: there is no such run. RunNotActiveError: it has not ended, or its parent has yet to be notified.
    """
    run = lock_run(run_id).run
    if not run.ended or Outbox.objects.filter(run_id=run_id).exists():
        raise RunNotActiveError(run_id, run.status)
    _erase_events(run_id, Event.objects.filter(run_id=run_id).order_by("sequence"))
    _erase_row(Run, run_id)
    for model in (Step, Hook):
        for pk in model._default_manager.filter(run_id=run_id).order_by("pk").values_list("pk", flat=True):
            _erase_row(model, pk)
    Hook.objects.filter(run_id=run_id).update(token=ERASED)
    Hook.objects.filter(run_id=run_id).exclude(options=None).update(options={})
    StreamChunk.objects.filter(run_id=run_id).update(data=ERASED)
    WebhookCall.objects.filter(run_id=run_id).exclude(response=None).update(response=ERASED)
    Run.objects.filter(pk=run_id).update(attributes=_erased_attributes(run_id))
    if run.parent_id is not None:
        _erase_in_parent(run.parent_id, run.parent_correlation_id)


def _erase_in_parent(parent_id: str, correlation_id: str) -> None:
    """The parent's log holds copies of the child's arguments and of its result."""
    parent = Run.objects.filter(pk=parent_id, status__in=sorted(TERMINAL_RUN))
    if parent.exists():
        rows = Event.objects.filter(run_id=parent_id)
        _erase_events(parent_id, rows.filter(correlation_id=correlation_id))
        _mark_erased(rows.filter(sequence=1).get())


def _erase_row(model: type[Run | Step | Hook], pk: str) -> None:
    """The payload columns, whatever classes their values name; what is NULL, or holds null, stays so."""
    columns = _COLUMNS[model]
    rows = model._default_manager.filter(pk=pk)
    raw = rows.annotate(**stored(*columns))
    changes = {}
    for name, text in zip(columns, raw.values_list(*(f"raw_{name}" for name in columns)).get(), strict=True):
        value = None if text is None else json.loads(decrypt(text))
        if value is not None:
            changes[name] = reencode(columns[name](value))
    if changes:
        rows.update(**changes)


def _erased_attributes(run_id: str) -> dict[str, str]:
    """The run's attributes as its erased log has them."""
    rows = Event.objects.filter(run_id=run_id, type__in=CHANGE_ATTRIBUTES).order_by("sequence")
    return attributes_of([event.record for event in rows])


def _erase_events(run_id: str, rows: Any) -> None:
    changed = []
    for event in rows.iterator(chunk_size=_BATCH):
        event.data = _erase_data(event.record)
        changed.append(event)
        if len(changed) >= _BATCH:
            Event.objects.bulk_update(changed, ["data"])
            changed.clear()
    if changed:
        Event.objects.bulk_update(changed, ["data"])


def _mark_erased(created: Event) -> None:
    made = {**raw_fields(created.record), "erased": True}
    Event.objects.filter(pk=created.pk).update(data=reencode(made))


def _erase_data(record: Record) -> str:
    """What no event of this version declares, a newer one has written; it counts as personal."""
    found = raw_fields(record)
    declared = TYPES[record.type].fields if record.type in TYPES else {}
    for name, value in found.items():
        shape = declared[name].personal if name in declared else Shape.VALUE
        if shape is not None and value is not None:
            found[name] = _ERASE[shape](value)
    if record.type == RunCreated.type:
        found["erased"] = True
    return reencode(found)


# --- what erasing leaves of a value, by its shape --------------------------------------------------------------------


def _erase_value(value: Any) -> Any:
    return ERASED


def _erase_args(args: Any) -> Any:
    return [ERASED for _ in args]


def _erase_mapping(mapping: Any) -> Any:
    if "$" in mapping:  # tagged, as one of its keys is strange: no name of an argument, so it may say something
        return {}
    return {key: None if value is None else ERASED for key, value in mapping.items()}


def _erase_error(error: Any) -> Any:
    """The class of an error says what kind of thing went wrong, and stays; what it says goes."""
    return {"type": error["type"], "message": ERASED, "args": [], "traceback": "", "cause": None}


def _erase_call(input: Any) -> Any:
    return {"args": _erase_args(input["args"]), "kwargs": _erase_mapping(input["kwargs"])}


_ERASE: dict[Shape, Callable[[Any], Any]] = {
    Shape.VALUE: _erase_value,
    Shape.TEXT: _erase_value,
    Shape.TOKEN: _erase_value,
    Shape.ARGS: _erase_args,
    Shape.MAPPING: _erase_mapping,
    Shape.ERROR: _erase_error,
}
#: payload columns of rows, which hold the same values
_COLUMNS: dict[type[Run | Step | Hook], dict[str, Callable[[Any], Any]]] = {
    Run: {"input": _erase_call, "output": _erase_value, "error": _erase_error},
    Step: {"input": _erase_call, "output": _erase_value, "error": _erase_error},
    Hook: {"metadata": _erase_value},
}
