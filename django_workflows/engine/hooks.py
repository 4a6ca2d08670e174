"""A hook as its body sees it: registered or refused by an event, fed by events, consumed first in, first out."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ..eventlog.commands import DisposeHook
from ..exceptions import HookConflictError, HookNotFoundError
from .futures import DurableFuture

if TYPE_CHECKING:
    from .runtime import BodyRuntime


class BodyHook:
    """Payloads stay in ``_payloads`` until a reader really takes one, so that a cancelled reader loses nothing.

    Readers wait for a wake-up, not for a payload, as in ``asyncio.Queue``: a woken reader checks again.
    """

    __slots__ = (
        "_disposed",
        "_owner",
        "_payloads",
        "_readers",
        "_registered",
        "_registrations",
        "_runtime",
        "correlation_id",
        "token",
    )

    def __init__(self, runtime: BodyRuntime, correlation_id: str, token: str) -> None:
        self._runtime = runtime
        self.correlation_id, self.token = correlation_id, token
        #: storage has decided whether the token is ours
        self._registered = False
        self._owner: str | None = None
        self._disposed = False
        self._payloads: deque[Any] = deque()
        self._readers: deque[DurableFuture] = deque()
        self._registrations: deque[DurableFuture] = deque()

    # --- what the body asks ------------------------------------------------------------------------------------------

    async def receive(self, *, iterating: bool = False) -> Any:
        while True:
            if self._owner is not None:
                raise HookConflictError(self.token, self._owner)
            if self._disposed:
                if iterating:
                    raise StopAsyncIteration
                raise HookNotFoundError("The hook has been disposed; it takes no more payloads.")
            if self._payloads:
                return self._payloads.popleft()
            reader = self._runtime.loop.create_future()
            self._readers.append(reader)
            try:
                await reader
            except BaseException:
                self._give_up(reader)
                raise

    def _give_up(self, reader: DurableFuture) -> None:
        """A reader that was cancelled after its wake-up passes it on."""
        if reader.cancelled() or not reader.done():
            if reader in self._readers:
                self._readers.remove(reader)
        elif self._payloads:
            self._wake(self._readers, 1)

    async def conflict(self) -> str | None:
        if not self._registered and not self._disposed:
            registration = self._runtime.loop.create_future()
            self._registrations.append(registration)
            await registration
        return self._owner

    def dispose(self) -> None:
        if self._disposed:
            return
        self._disposed = True
        self._payloads.clear()
        if self._registered:
            self._runtime.hooks.pop(self.correlation_id, None)
        if self._owner is None:
            self._runtime.decisions.withdraw(DisposeHook(self.correlation_id, cause=self._runtime.cause))
        self._wake(self._readers)
        if not self._registered:
            self._wake(self._registrations)

    # --- what events say ---------------------------------------------------------------------------------------------

    def created(self) -> None:
        self._registered = True
        if self._disposed:
            self._runtime.hooks.pop(self.correlation_id, None)
        self._wake(self._registrations)

    def conflicted(self, owner: str) -> None:
        self._registered, self._owner = True, owner
        self._wake(self._registrations)
        self._wake(self._readers)

    def received(self, payload: Any) -> None:
        if not self._disposed:
            self._payloads.append(payload)
            self._wake(self._readers, 1)

    def freed(self) -> None:
        """Another transaction has disposed the hook, not this body."""
        self._disposed = True
        self._payloads.clear()
        self._wake(self._readers)

    @staticmethod
    def _wake(waiting: deque[DurableFuture], count: int = 2**31) -> None:
        """Wake the first ``count`` that still wait, by default all."""
        while waiting and count:
            woken = waiting.popleft()
            if not woken.done():
                woken.set_result(None)
                count -= 1
