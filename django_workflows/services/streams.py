"""The streams of a run: chunks numbered densely from 0 under the stream's row lock, closed once."""

from __future__ import annotations

from collections.abc import Sequence

from ..exceptions import EntityConflictError, StreamClosedError
from ..models import Step, Stream, StreamChunk
from ..serialization import Encoded
from ..statuses import StepStatus
from . import database


def require_lease(step_id: str, worker_id: str, attempt: int) -> None:
    """Hold the step's row for the rest of the transaction, if this attempt is the current one.

    Raises:
        EntityConflictError: the attempt was cancelled, timed out, or another worker has taken over.
    """
    rows = Step.objects.using(database.alias()).select_for_update(no_key=True)
    current = rows.filter(pk=step_id, worker_id=worker_id, attempt=attempt, status=StepStatus.RUNNING)
    if not current.exists():
        raise EntityConflictError(f"Attempt {attempt} of step {step_id} is no longer current; it may not write.")


def append_chunks(run_id: str, name: str, chunks: Sequence[Encoded]) -> int:
    """Add chunks to the end of the stream; it begins with its first chunk. Returns the index of the first one added.

    Raises:
        StreamClosedError: the stream has been closed.
    """
    stream = _lock(run_id, name)
    first, now = stream.next_index, database.now()
    StreamChunk.objects.using(database.alias()).bulk_create(
        StreamChunk(run_id=run_id, stream=name, index=first + i, data=chunk, created_at=now)
        for i, chunk in enumerate(chunks)
    )
    Stream.objects.using(database.alias()).filter(pk=stream.pk).update(next_index=first + len(chunks))
    database.ring(database.NEWS, [f"{run_id} {name}"])
    return first


def close_stream(run_id: str, name: str) -> None:
    """No chunk follows. Closing twice is silent."""
    alias = database.alias()
    rows = Stream.objects.using(alias)
    rows.bulk_create([Stream(run_id=run_id, name=name, created_at=database.now())], ignore_conflicts=True)
    rows.filter(run_id=run_id, name=name, closed_at__isnull=True).update(closed_at=database.now())
    database.ring(database.NEWS, [f"{run_id} {name}"])


def _lock(run_id: str, name: str) -> Stream:
    rows = Stream.objects.using(database.alias())
    rows.bulk_create([Stream(run_id=run_id, name=name, created_at=database.now())], ignore_conflicts=True)
    stream = rows.select_for_update(no_key=True).get(run_id=run_id, name=name)
    if stream.closed_at is not None:
        raise StreamClosedError(f"The stream {name!r} of run {run_id} is closed; nothing can be written after its end.")
    return stream
