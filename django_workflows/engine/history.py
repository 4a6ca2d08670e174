"""What a replay may know of the records that it has not been fed yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ..eventlog.commands import Command, RecordPatch
from ..eventlog.events import ChildStarted, HookConflict, HookCreated, PatchRecorded, Record
from .matching import is_about

_TOKENS = (HookCreated.type, HookConflict.type)


class LookAhead:
    """What a replay takes from records that it has not been fed yet. The body learns of it only through ``patched()``.

    Tokens and children's ids are random: the first decision draws them, every replay finds them here.
    """

    __slots__ = ("_decisions", "children", "tokens")

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self.children: dict[str, str] = {}
        self._decisions: deque[Record] = deque()

    def scan(self, records: Iterable[Record]) -> None:
        """Note what later records decide."""
        for record in records:
            if not record.is_decision:
                continue
            self._decisions.append(record)
            if record.type in _TOKENS:
                self.tokens[record.correlation_id] = record.payload["token"]
            elif record.type == ChildStarted.type:
                self.children[record.correlation_id] = record.payload["child"]

    def passed(self, record: Record) -> None:
        """The record has been fed."""
        if self._decisions and self._decisions[0].sequence == record.sequence:
            self._decisions.popleft()

    def patched(self, patch: RecordPatch, pending: Iterable[Command]) -> bool:
        """Whether a run that now reaches the line of ``patch`` goes the new way.

        It does where the log records the patch. Else the log's next decisions are those that the body has already made
        (``pending``), and then either there are more: the run passed the line under code without the patch; or there
        are none: it gets here live. Other patches do not count, since their lines may have gone.
        """
        if any(is_about(patch, record) for record in self._decisions):
            return True
        made = iter(pending)
        rest = (record for record in self._decisions if record.type != PatchRecorded.type)
        return all(any(is_about(command, record) for command in made) for record in rest)

    def clear(self) -> None:
        self.tokens.clear()
        self.children.clear()
        self._decisions.clear()
