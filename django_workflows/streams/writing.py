"""Writing streams: chunks numbered densely from 0 under the stream's row lock, closed once, nothing after the end.

Chunks and the close of an attempt are seen at once, before it is known how the attempt ends. A close binds all others;
but the next attempt of the same step opens the stream again with its first chunk, and the numbers go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..eventlog.statuses import TERMINAL_RUN
from ..exceptions import StreamClosedError
from ..models import Run, Stream, StreamChunk
from ..serialization import Encoded
from ..store import database


@dataclass(frozen=True, slots=True)
class Writer:
    """The attempt that writes."""

    step_id: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.step_id} {self.attempt}"

    def comes_after(self, closed_by: str) -> bool:
        """Whether the stream was closed by an earlier attempt of this step, which therefore came to nothing."""
        step_id, _, attempt = closed_by.partition(" ")
        return step_id == self.step_id and int(attempt) < self.attempt


def append_chunks(run_id: str, name: str, chunks: Sequence[Encoded], writer: Writer | None = None) -> int:
    """Add chunks to the end of the stream; it begins with its first chunk. Returns the index of the first one added.

    Raises:
        StreamClosedError: the stream has been closed, or its run has ended.
    """
    stream = _lock(run_id, name, writer)
    first, now = stream.next_index, database.now()
    StreamChunk.objects.bulk_create(
        StreamChunk(run_id=run_id, stream=name, index=first + i, data=chunk, created_at=now)
        for i, chunk in enumerate(chunks)
    )
    Stream.objects.filter(pk=stream.pk).update(next_index=first + len(chunks), closed_at=None, closed_by="")
    notify_changed(run_id, name)
    return first


def close_stream(run_id: str, name: str, writer: Writer | None = None) -> None:
    """No chunk follows. Closing twice is silent, and so is closing the stream of a run that has ended."""
    try:
        stream = _lock(run_id, name, writer)
    except StreamClosedError:
        return
    Stream.objects.filter(pk=stream.pk).update(closed_at=database.now(), closed_by=str(writer or ""))
    notify_changed(run_id, name)


def notify_changed(run_id: str, name: str) -> None:
    """Wake the readers of the stream, at the commit."""
    database.notify(database.CHANGED, [stream_key(run_id, name)])


def stream_key(run_id: str, name: str) -> str:
    """The payload of ``CHANGED`` when a stream has grown or was closed. A payload of NOTIFY has less than 8,000 bytes."""
    return f"{run_id} {name}"


def _lock(run_id: str, name: str, writer: Writer | None) -> Stream:
    """The stream, locked and open, or to be opened again by this writer; it is made here if this is its first chunk.

    The run's status is read after the lock was won. So a reader that has seen the run's end, and then takes this lock,
    knows that no chunk will follow.
    """
    rows = Stream.objects
    locked = rows.select_for_update(no_key=True).filter(run_id=run_id, name=name)
    stream = locked.first()
    if stream is None:
        rows.bulk_create([Stream(run_id=run_id, name=name, created_at=database.now())], ignore_conflicts=True)
        stream = locked.get()
    status = Run.objects.filter(pk=run_id).values_list("status", flat=True).first()
    closed = stream.closed_at is not None and not (writer and writer.comes_after(stream.closed_by))
    if closed or status in TERMINAL_RUN:
        why = "is closed" if closed else "has ended with its run"
        raise StreamClosedError(f"The stream {name!r} of run {run_id} {why}; nothing can be written after its end.")
    return stream
