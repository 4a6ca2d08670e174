"""Chunks on their way from a step to its streams: gathered for a moment, saved together, and before the step's end.

The first chunk goes out at once; those that a step writes while it is under way, or within ``LINGER``, go out with the
next transaction. So a slow writer's chunks are seen as they are written, and a fast one costs a commit per batch.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ...exceptions import StreamClosedError, WorkflowError
from ...serialization import Encoded
from ...services import steps
from ...store import database, faults
from ...store.transactions import atomic
from ...streams import writing
from ...values.per_process import PerProcess
from .attempts import Attempt

logger = logging.getLogger("django_workflows.worker")

#: seconds between two transactions of one attempt's chunks
LINGER = 0.02
#: characters of encoded text that wait at most, before their writer has to
HIGH_WATER = 1024 * 1024
#: seconds before chunks that the database did not take are tried again: the first time, and at most
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 5.0
#: seconds between two lines of log about that, for one attempt
_LINE_INTERVAL = 30.0
#: seconds after which the process's flusher ends its thread
_IDLE = 5.0


class ChunkBuffer:
    """The chunks of one attempt. Everything it writes carries the attempt's lease."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._writer = writing.Writer(attempt.step.id, attempt.number)
        self._lock = threading.Lock()
        self._draining = threading.Lock()
        self._pending: list[tuple[str, str, Encoded]] = []
        self._size = 0
        self._error: WorkflowError | None = None
        self._closed: set[tuple[str, str]] = set()
        self._refusals = 0
        self._next_line = 0.0

    # --- writing -----------------------------------------------------------------------------------------------------

    def write(self, run_id: str, stream: str, chunk: Encoded) -> None:
        """Add a chunk; wait if too many are on their way. Inside ``atomic`` they wait for its end, or are saved with it."""
        full = self._add(run_id, stream, chunk)
        if self._must_stay() or database.connection().in_atomic_block:
            if full:
                self.drain()
        elif full:
            self.flush()
        else:
            _flusher().schedule(self)

    async def awrite(self, run_id: str, stream: str, chunk: Encoded) -> None:
        """As :meth:`write`, on an event loop."""
        full = self._add(run_id, stream, chunk)
        if full:
            await self.aflush()
        elif not self._must_stay():
            _flusher().schedule(self)

    def _add(self, run_id: str, stream: str, chunk: Encoded) -> bool:
        with self._lock:
            if self._error is not None:
                raise self._error
            if (run_id, stream) in self._closed:
                raise StreamClosedError(
                    f"The stream {stream!r} of run {run_id} is closed; nothing can be written to it."
                )
            self._pending.append((run_id, stream, chunk))
            self._size += len(chunk)
            return self._size > HIGH_WATER

    def _must_stay(self) -> bool:
        """The chunks of an atomic step commit with it, and those of a step under test on the test's own connection."""
        return self._attempt.definition.atomic or self._attempt.inline

    # --- saving ------------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Save all chunks, in the calling thread, however long the database refuses them or is away.

        Raises:
            StreamClosedError, EntityConflictError: why they cannot be saved.
            django.db.Error: inside a transaction, which cannot go on; or it is about the chunks themselves.
        """
        while True:
            try:
                self.drain()
                break
            except faults.DATABASE_ERRORS as error:
                if database.connection().in_atomic_block:
                    raise
                time.sleep(self.pause_after(error))
        self.raise_refusal()

    def raise_refusal(self) -> None:
        """Raise why chunks could not be saved, where that is final."""
        if self._error is not None:
            raise self._error

    def pause_after(self, error: Exception) -> float:
        """Seconds to wait after the database did not take chunks. Raises the error if waiting will not help."""
        fault = faults.classify(error)
        if not fault.will_pass:
            raise error
        with suppress(Exception):
            database.connection().close()
        self._refusals += 1
        if (now := time.monotonic()) >= self._next_line:
            self._next_line = now + _LINE_INTERVAL
            logger.warning(
                "Chunks of step %s wait to be saved and are tried again: %s", self._attempt.step.id, fault.sentence
            )
        return min(_FIRST_PAUSE * 2.0 ** min(self._refusals - 1, 10), _LAST_PAUSE)

    async def aflush(self) -> None:
        """As :meth:`flush`, on an event loop."""
        if not self._pending and not self._draining.locked() and self._error is None:
            return
        if self._must_stay():
            from asgiref.sync import sync_to_async

            await sync_to_async(self.flush)()
            return
        loop = asyncio.get_running_loop()
        saved: asyncio.Future[None] = loop.create_future()

        def settle_soon(error: BaseException | None) -> None:
            loop.call_soon_threadsafe(settle, error)

        def settle(error: BaseException | None) -> None:
            if not saved.done():
                saved.set_result(None) if error is None else saved.set_exception(error)

        _flusher().flush(self, settle_soon)
        await saved

    def close(self, run_id: str, stream: str) -> None:
        """Save all chunks, then end the stream."""
        self.flush()
        with atomic():
            self._require_lease()
            writing.close_stream(run_id, stream, self._writer)
        with self._lock:
            self._closed.add((run_id, stream))

    def drain(self) -> None:
        """Save what there is, once."""
        with self._draining:
            with self._lock:
                pending, self._pending, self._size = self._pending, [], 0
            if not pending:
                return
            try:
                with atomic():
                    self._save(pending)
                self._refusals = 0
            except WorkflowError as error:  # the lease is lost or the stream is closed, and stays so
                with self._lock:
                    self._error = error
            except BaseException:
                with self._lock:
                    self._pending[:0] = pending
                    self._size += sum(len(chunk) for _, _, chunk in pending)
                raise

    def _save(self, pending: list[tuple[str, str, Encoded]]) -> None:
        self._require_lease()
        by_stream: dict[tuple[str, str], list[Encoded]] = {}
        for run_id, stream, chunk in pending:
            by_stream.setdefault((run_id, stream), []).append(chunk)
        for (run_id, stream), chunks in sorted(by_stream.items()):  # one order for all who lock several streams
            writing.append_chunks(run_id, stream, chunks, self._writer)

    def _require_lease(self) -> None:
        steps.lock_lease(self._attempt.step.id, self._attempt.worker_id, self._attempt.number)


class Flusher:
    """One thread per process that saves chunks soon after they were written, while their steps go on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: dict[ChunkBuffer, float] = {}
        self._last: dict[ChunkBuffer, float] = {}
        self._waiting: dict[ChunkBuffer, list[Callable[[BaseException | None], None]]] = {}
        self._work = threading.Event()
        self._thread: threading.Thread | None = None

    def schedule(self, buffer: ChunkBuffer) -> None:
        """Save its chunks at the next moment that ``LINGER`` allows."""
        with self._lock:
            if buffer in self._due:
                return
            self._due[buffer] = self._last.get(buffer, 0.0) + LINGER
            self._start()

    def flush(self, buffer: ChunkBuffer, call: Callable[[BaseException | None], None]) -> None:
        """Save at once; ``call`` gets what went wrong, or None."""
        with self._lock:
            self._waiting.setdefault(buffer, []).append(call)
            self._due[buffer] = 0.0
            self._start()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="workflows-chunks", daemon=True)
            self._thread.start()
        self._work.set()

    def _run(self) -> None:
        while True:
            self._work.clear()
            now = time.monotonic()
            with self._lock:
                ready = [buffer for buffer, due in self._due.items() if due <= now]
                for buffer in ready:
                    del self._due[buffer]
                self._last = {buffer: last for buffer, last in self._last.items() if now - last < LINGER}
                next_due = min(self._due.values(), default=None)
            for buffer in ready:
                self._save(buffer)
            if ready:
                continue
            if not self._work.wait(_IDLE if next_due is None else next_due - now) and next_due is None and self._end():
                return

    def _save(self, buffer: ChunkBuffer) -> None:
        with self._lock:
            calls = self._waiting.pop(buffer, [])
        failed: BaseException | None = None
        try:
            buffer.drain()
            if calls:
                buffer.raise_refusal()
        except faults.DATABASE_ERRORS as error:
            failed = self._try_again(buffer, calls, error)
            if failed is None:
                return
        except BaseException as error:  # noqa: BLE001 - for those that wait, whatever it is
            failed = error
        with self._lock:
            self._last[buffer] = time.monotonic()
        for call in calls:
            with suppress(RuntimeError):  # the loop is closed: the worker ends
                call(failed)

    def _try_again(
        self, buffer: ChunkBuffer, calls: list[Callable[[BaseException | None], None]], error: Exception
    ) -> BaseException | None:
        """Save these chunks later, while others are saved; what waits for them waits on. The error, if that is no use."""
        try:
            pause = buffer.pause_after(error)
        except faults.DATABASE_ERRORS as final:
            return final
        with self._lock:
            self._due[buffer] = time.monotonic() + pause
            if calls:
                self._waiting[buffer] = [*calls, *self._waiting.get(buffer, [])]
        return None

    def _end(self) -> bool:
        with self._lock:
            if self._due:
                return False
            self._thread = None
        self._close_connection()
        return True

    @staticmethod
    def _close_connection() -> None:
        with suppress(Exception):
            database.connection().close()


_flusher = PerProcess(Flusher)
