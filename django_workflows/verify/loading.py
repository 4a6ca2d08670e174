"""Reading runs for the validator: each at one moment, while workers may be writing to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.db import transaction
from django.db.models import Count, Max, Min, Q

from ..models import Event, Run, Stream, StreamChunk
from ..services import database
from .violation import LoggedEvent, StreamSpan, Subject

#: runs whose ids are held in memory at a time
_BATCH = 500
#: tries to read a run between two of its transitions before it is locked for the reading
_TRIES = 4


def load(run_ids: Iterable[str]) -> Iterator[Subject]:
    """The runs one after another. Those that have been pruned meanwhile are left out."""
    for run_id in run_ids:
        subject = _load(run_id)
        if subject is not None:
            yield subject


def _load(run_id: str) -> Subject | None:
    """Whatever a transition changes it also logs: a reading before and after which the log ends alike is consistent."""
    rows = Run.objects.using(database.alias()).filter(pk=run_id)
    for _ in range(_TRIES):
        subject = _read(run_id)
        if subject is None:
            return None
        head = rows.values_list("last_sequence", "last_event_at", "status").first()
        if head == (subject.run.last_sequence, subject.run.last_event_at, subject.run.status):
            return subject
    with transaction.atomic(using=database.alias()):
        rows.select_for_update(no_key=True).first()
        return _read(run_id)


def _read(run_id: str) -> Subject | None:
    alias = database.alias()
    streams = list(Stream.objects.using(alias).filter(run_id=run_id))
    run = Run.objects.using(alias).filter(pk=run_id).first()
    if run is None:
        return None
    return Subject(
        run=run,
        events=[
            LoggedEvent(event.record, event.life, event.idempotency_key)
            for event in Event.objects.using(alias).filter(run_id=run_id).order_by("sequence")
        ],
        now=database.now(),
        steps=list(run.steps.using(alias).order_by("correlation_id")),
        waits=list(run.waits.using(alias).order_by("correlation_id")),
        hooks=list(run.hooks.using(alias).order_by("correlation_id")),
        streams=[_read_stream(stream) for stream in streams],
    )


def _read_stream(stream: Stream) -> StreamSpan:
    alias = database.alias()
    chunks = StreamChunk.objects.using(alias).filter(run_id=stream.run_id, stream=stream.name)
    found = chunks.aggregate(
        below=Count("pk", filter=Q(index__lt=stream.next_index)),
        lowest=Min("index"),
        highest=Max("index"),
        last=Max("created_at"),
    )
    after = Stream.objects.using(alias).filter(pk=stream.pk).values_list("next_index", flat=True).first()
    return StreamSpan(
        stream=stream,
        next_index_after=stream.next_index if after is None else after,
        chunks=found["below"],
        lowest=found["lowest"],
        highest=found["highest"],
        last_chunk_at=found["last"],
    )


def newest_first(run_ids: Iterable[str] | None, since: object = None) -> Iterator[str]:
    """The ids to verify, in bounded batches: those given, or all runs created at or after ``since``."""
    if run_ids is not None:
        yield from run_ids
        return
    rows = Run.objects.using(database.alias()).order_by("-created_at", "-id")
    if since is not None:
        rows = rows.filter(created_at__gte=since)
    yield from rows.values_list("pk", flat=True).iterator(chunk_size=_BATCH)
