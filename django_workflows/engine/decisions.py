"""What the body has decided and the log does not hold yet.

::

    request() ─▶ staged ──commit()──▶ unmatched ──match(record)──▶ gone
                (this drain)           │ take() gives them to the services, which write them

A request that is withdrawn in the drain that made it leaves no trace. Afterwards the decisions are a queue: the log
records them in this order, and whatever decision it records must be the head of the queue. That holds since a body
decides on a prefix of the log what it decides, as a prefix, on any longer one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice

from ..eventlog.commands import CancelStep, CancelWait, Command, CreateHook, CreateStep, CreateWait, DisposeHook, EndRun

#: never recorded when the log says by itself that there is nothing (left) to end
_WITHDRAWALS = (CancelStep, CancelWait, DisposeHook)
#: what means nothing any more when the body ends in the drain that decided it
_MOOT_AT_END = (CreateStep, CreateWait, CreateHook, CancelStep, CancelWait)


class Decisions:
    __slots__ = ("_staged", "_taken", "_unmatched", "_withdrawals", "closed")

    def __init__(self) -> None:
        self._staged: dict[str, Command] = {}
        self._unmatched: deque[Command] = deque()
        #: how many of the queue's first have been given out by :meth:`take`
        self._taken = 0
        #: withdrawals in the queue that still have something to end
        self._withdrawals: dict[str, Command] = {}
        self.closed = False

    # --- the body's side ---------------------------------------------------------------------------------------------

    def request(self, command: Command) -> None:
        """The body asks for something new."""
        if not self.closed:
            self._staged[command.correlation_id] = command

    def withdraw(self, command: Command) -> None:
        """The body no longer wants what it asked for: ``command`` cancels or disposes it."""
        if not self.closed and self._staged.pop(command.correlation_id, None) is None:
            self._staged[f"{command.correlation_id}!"] = command

    def commit(self) -> None:
        """The drain is over: its decisions stand."""
        staged = self._staged
        if staged:
            for command in staged.values():
                if isinstance(command, _WITHDRAWALS):
                    self._withdrawals[command.correlation_id] = command
            self._unmatched.extend(staged.values())
            staged.clear()

    def end(self, end: EndRun) -> None:
        """The body ended in this drain. Attributes, disposals, patches and children of the drain still count."""
        self._staged = {key: item for key, item in self._staged.items() if not isinstance(item, _MOOT_AT_END)}
        self.commit()
        self._unmatched.append(end)
        self.closed = True

    # --- the log's side ----------------------------------------------------------------------------------------------

    def take(self, limit: int | None = None) -> list[Command]:
        """The decisions to be written, each given once. The rest, where ``limit`` is given, comes at the next call."""
        stop = None if limit is None else self._taken + limit
        taken = list(islice(self._unmatched, self._taken, stop))
        self._taken += len(taken)
        return [command for command in taken if not self._is_moot(command)]

    def replace_from(self, command: Command, end: EndRun) -> None:
        """The services cannot write ``command``: the run ends in its place."""
        kept = list(self._unmatched)
        position = next(index for index, item in enumerate(kept) if item is command)
        self._unmatched = deque([*kept[:position], end])
        self._staged.clear()
        self._taken = position + 1
        self.closed = True

    def ended_by_itself(self, correlation_id: str) -> None:
        """A step or wait has its end in the log, or a hook lost its token: withdrawing it will not be recorded."""
        if self._withdrawals:
            self._withdrawals.pop(correlation_id, None)

    def head(self) -> Command | None:
        """The decision that the log must record next; None if there is nothing more."""
        unmatched = self._unmatched
        while unmatched:
            command = unmatched[0]
            if not self._is_moot(command):
                return command
            self._pop()
        return None

    def matched(self) -> None:
        """The log holds the head now."""
        command = self._pop()
        if isinstance(command, _WITHDRAWALS):
            self._withdrawals.pop(command.correlation_id, None)

    def clear(self) -> None:
        """The run is over: nothing more will be written."""
        self._staged.clear()
        self._unmatched.clear()
        self._withdrawals.clear()
        self._taken = 0
        self.closed = True

    def discard(self, correlation_id: str) -> None:
        """The log holds this decision already, out of its turn."""
        for index, command in enumerate(self._unmatched):
            if command.correlation_id == correlation_id:
                del self._unmatched[index]
                self._taken -= index < self._taken
                return

    def pending(self) -> Iterator[Command]:
        """All that the body has decided and the log, as far as delivered, does not hold; this drain's included."""
        yield from self._unmatched
        yield from self._staged.values()

    def _pop(self) -> Command:
        if self._taken:
            self._taken -= 1
        return self._unmatched.popleft()

    def _is_moot(self, command: Command) -> bool:
        return isinstance(command, _WITHDRAWALS) and self._withdrawals.get(command.correlation_id) is not command
