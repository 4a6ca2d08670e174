"""A child run as its parent's body sees it: an id, and at some time the event that says how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..eventlog.events import ChildCompleted, Record
from ..exceptions import RunCancelledError, RunFailedError
from ..serialization import decode_error
from .futures import RequestFuture, value_at_once
from .payloads import read

if TYPE_CHECKING:
    from .runtime import BodyRuntime


class Child:
    """The result may be awaited any number of times; each gets its own copy of the value, or its own exception."""

    __slots__ = ("_ended", "_runtime", "_waiting", "run_id")

    def __init__(self, runtime: BodyRuntime, run_id: str) -> None:
        self._runtime, self.run_id = runtime, run_id
        self._ended: Record | None = None
        self._waiting: list[RequestFuture] = []

    def result(self) -> Iterator[Any]:
        """What a body awaits for the child's result."""
        if self._ended is not None:
            value, error = self._outcome(self._ended)
            if error is not None:
                raise error
            return value_at_once(value)
        waiting = self._runtime.request_future(self.run_id, self._abandon)
        self._waiting.append(waiting)
        return waiting.__await__()

    def _abandon(self, run_id: str) -> None:
        """The body no longer awaits this future. The child continues: it is a run of its own."""
        self._waiting = [waiting for waiting in self._waiting if not waiting.done()]

    def ended(self, record: Record) -> None:
        self._ended = record
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            value, error = self._outcome(record)
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

    def _outcome(self, record: Record) -> tuple[Any, BaseException | None]:
        payload = read(record)
        if record.type == ChildCompleted.type:
            return payload["output"], None
        if payload["cancelled"]:
            return None, RunCancelledError(self.run_id)
        details = payload["error"] or {}
        error = RunFailedError(self.run_id, details.get("type", "unknown"), details.get("message", ""))
        error.__cause__ = decode_error(details)
        return None, error
