"""Reading runs for the validator: many at a time, each as it was at one moment, while workers may be writing to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from django.db.models import Count, Max, Min, Model, Q

from ..models import Event, Hook, Run, Step, Stream, StreamChunk, Wait
from ..store import database
from ..store.transactions import atomic
from .violation import LoggedEvent, StreamSpan, Subject

#: runs, and events of them, that are read at a time
_RUNS, _EVENTS = 100, 20_000
#: tries to read a run between two of its transitions before it is locked for the reading
_TRIES = 4


def load(run_ids: Iterable[str]) -> Iterator[Subject]:
    """The runs one after another, in order. Those that have been pruned meanwhile are left out."""
    for ids in _batches(run_ids):
        subjects = _read(ids)
        heads = _heads(list(subjects))
        for run_id in ids:
            subject = subjects.get(run_id)
            if subject is not None and heads.get(run_id) != _head_of(subject.run):
                subject = _read_alone(run_id)
            if subject is not None:
                yield subject


def newest_first(run_ids: Iterable[str] | None, since: datetime | None = None) -> Iterator[str]:
    """The ids to verify: those given, or all runs created at or after ``since``."""
    if run_ids is not None:
        yield from run_ids
        return
    rows = Run.objects.order_by("-created_at", "-id")
    if since is not None:
        rows = rows.filter(created_at__gte=since)
    yield from rows.values_list("pk", flat=True).iterator(chunk_size=_RUNS)


def _batches(run_ids: Iterable[str]) -> Iterator[list[str]]:
    """Not too many runs at a time, and not too many events."""
    ids = iter(run_ids)
    while chunk := list(islice(ids, _RUNS)):
        lengths = dict(_runs(chunk).values_list("pk", "last_sequence"))
        batch: list[str] = []
        events = 0
        for run_id in chunk:
            if batch and events + lengths.get(run_id, 0) > _EVENTS:
                yield batch
                batch, events = [], 0
            batch.append(run_id)
            events += lengths.get(run_id, 0)
        yield batch


def _read_alone(run_id: str) -> Subject | None:
    """A run that was written to while it was read."""
    for _ in range(_TRIES):
        subject = _read([run_id]).get(run_id)
        if subject is None or _heads([run_id]).get(run_id) == _head_of(subject.run):
            return subject
    with atomic():
        _runs([run_id]).select_for_update(no_key=True).first()
        return _read([run_id]).get(run_id)


# Whatever a transition changes it also logs: a reading before and after which the log ends alike is consistent.


def _head_of(run: Run) -> tuple[Any, ...]:
    return run.last_sequence, run.last_event_at, run.status


def _heads(run_ids: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    rows = _runs(run_ids).values_list("pk", "last_sequence", "last_event_at", "status")
    return {run_id: tuple(head) for run_id, *head in rows}


def _runs(run_ids: Sequence[str]) -> Any:
    return Run.objects.filter(pk__in=run_ids)


def _read(run_ids: Sequence[str]) -> dict[str, Subject]:
    streams = _streams_before(run_ids)
    runs = {run.pk: run for run in _runs(run_ids)}
    events: dict[str, list[LoggedEvent]] = defaultdict(list)
    rows = Event.objects.filter(run_id__in=run_ids).order_by("run_id", "sequence")
    for event in rows.iterator():
        events[event.run_id].append(LoggedEvent(event.record, event.life, event.idempotency_key))
    now = database.now()
    steps, waits, hooks = _entities(Step, run_ids), _entities(Wait, run_ids), _entities(Hook, run_ids)
    spans = _spans(streams)
    return {
        run_id: Subject(run, events[run_id], now, steps[run_id], waits[run_id], hooks[run_id], spans[run_id])
        for run_id, run in runs.items()
    }


def _entities(model: type[Model], run_ids: Sequence[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    rows: Any = model._default_manager
    for row in rows.filter(run_id__in=run_ids).order_by("run_id", "correlation_id"):
        found[row.run_id].append(row)
    return found


# --- streams, which grow without an event ----------------------------------------------------------------------------


def _streams_before(run_ids: Sequence[str]) -> list[Stream]:
    return list(Stream.objects.filter(run_id__in=run_ids).order_by("run_id", "name"))


def _spans(streams: Sequence[Stream]) -> dict[str, list[StreamSpan]]:
    """Chunks were read after the streams' rows, and the rows again after them: one bound from below, one from above."""
    found: dict[str, list[StreamSpan]] = defaultdict(list)
    if not streams:
        return found
    chunks = _chunks(streams)
    after = dict(_rows_of(streams).values_list("pk", "next_index"))
    for stream in streams:
        below, lowest, highest, last = chunks.get((stream.run_id, stream.name), (0, None, None, None))
        index_after = after.get(stream.pk, stream.next_index)
        found[stream.run_id].append(StreamSpan(stream, index_after, below, lowest, highest, last))
    return found


def _rows_of(streams: Sequence[Stream]) -> Any:
    return Stream.objects.filter(pk__in=[stream.pk for stream in streams])


def _chunks(streams: Sequence[Stream]) -> dict[tuple[str, str], tuple[Any, ...]]:
    """By run and stream: how many chunks lie below the index that was read first, lowest, highest, time of the last."""
    found = {}
    for stream in streams:
        rows = StreamChunk.objects.filter(run_id=stream.run_id, stream=stream.name)
        counted = rows.aggregate(
            below=Count("pk", filter=Q(index__lt=stream.next_index)),
            lowest=Min("index"),
            highest=Max("index"),
            last=Max("created_at"),
        )
        found[stream.run_id, stream.name] = tuple(counted[name] for name in ("below", "lowest", "highest", "last"))
    return found
