"""A handle of a run: its id, and what one may ask about it. A plain value that can be stored, passed and returned."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, Generic, TypeVar
from zlib import crc32

from ..exceptions import WorkflowSandboxError
from ..serialization import register_type
from ..values.durations import Duration
from .client import client
from .runtime import body, sync_body

R = TypeVar("R")


class RunHandle(Generic[R]):
    """A run, by its id. Handles of the same run are equal.

    In a workflow body only ``await handle.aresult()`` of a child run is possible; do the rest in a step.
    """

    __slots__ = ("id",)

    def __init__(self, id: str) -> None:
        if not isinstance(id, str):
            raise TypeError(f"A run's id is a string, not {type(id).__name__}.")
        self.id = id

    def status(self) -> str:
        """``pending``, ``running``, ``completed``, ``failed`` or ``cancelled``. Raises ``RunNotFoundError``."""
        self._refuse_in_body("status")
        return client().status(self.id)

    def astatus(self) -> Awaitable[str]:
        """As :meth:`status`, in async code."""
        self._refuse_in_body("astatus")
        return client().astatus(self.id)

    def result(self, timeout: Duration | None = None) -> R:
        """Wait for the run's end and return its value. ``timeout``: seconds, ``timedelta`` or text.

        Raises:
            RunFailedError: the run failed; ``__cause__`` is the body's exception where it could be rebuilt.
            RunCancelledError: the run was cancelled.
            TimeoutError: it had not ended in time.
            InAtomicBlockError: called inside ``transaction.atomic()``, where the run could not even begin.
        """
        if (runtime := sync_body()) is not None:
            return runtime.child_result(self.id, timeout)  # type: ignore[return-value]
        self._refuse_in_body("result", "use `await handle.aresult()`")
        return client().result(self.id, timeout)  # type: ignore[no-any-return]

    def aresult(self, timeout: Duration | None = None) -> Awaitable[R]:
        """As :meth:`result`, in async code. In a workflow body: wait for a child run, holding no worker."""
        if (runtime := body()) is not None:
            return runtime.child_result(self.id, timeout)
        return client().aresult(self.id, timeout)

    def cancel(self, reason: str | None = None, force: bool = False) -> None:
        """Ask the run to end; it may clean up first. ``force``: end it at once.

        Asking again is silent. Raises ``RunNotActiveError`` if the run has completed or failed.
        """
        self._refuse_in_body("cancel")
        client().cancel(self.id, reason, force)

    def acancel(self, reason: str | None = None, force: bool = False) -> Awaitable[None]:
        """As :meth:`cancel`, in async code."""
        self._refuse_in_body("acancel")
        return client().acancel(self.id, reason, force)

    def stream(self, name: str = "default", start_index: int = 0, timeout: Duration | None = None) -> Iterator[Any]:
        """The values of a stream, until it is closed or the run ends. A negative index counts back from the tail.

        Raises ``TimeoutError`` when nothing comes for ``timeout``.
        """
        self._refuse_in_body("stream")
        return client().stream(self.id, name, start_index, timeout)

    def astream(
        self, name: str = "default", start_index: int = 0, timeout: Duration | None = None
    ) -> AsyncIterator[Any]:
        """As :meth:`stream`, for ``async for``."""
        self._refuse_in_body("astream")
        return client().astream(self.id, name, start_index, timeout)

    def _refuse_in_body(self, verb: str, advice: str = "put it in a step and pass the handle to it") -> None:
        if body() is not None:
            raise WorkflowSandboxError(f"handle.{verb}() is not possible in a workflow body: {advice}.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunHandle) and other.id == self.id

    def __hash__(self) -> int:
        return crc32(self.id.encode())  # not hash(): a set of handles is in the same order in every process

    def __repr__(self) -> str:
        return f"<RunHandle {self.id}>"


register_type(RunHandle, encode=lambda handle: handle.id, decode=RunHandle, name="run")
