"""Keeps the ORM out of bodies: while a body is drained, its thread's connections refuse everything."""

from __future__ import annotations

from typing import Any

from django.db import connections

from ..engine import sandbox
from ..exceptions import WorkflowSandboxError

_ADVICE = "A workflow body cannot use the database: its answer would differ on replay. Put the query in a @step."


class _Guarded:
    """Stands in front of where Django keeps a thread's connections. Outside of drains it only passes on."""

    __slots__ = ("_storage",)

    def __init__(self, storage: Any) -> None:
        object.__setattr__(self, "_storage", storage)

    def __getattr__(self, alias: str) -> Any:
        if sandbox.is_draining():  # an AttributeError would have Django connect anew
            raise WorkflowSandboxError(_ADVICE)
        return getattr(self._storage, alias)

    def __setattr__(self, alias: str, connection: Any) -> None:
        setattr(self._storage, alias, connection)

    def __delattr__(self, alias: str) -> None:
        delattr(self._storage, alias)


def install() -> None:
    """Guard every body that this process advances. Calling it again is harmless."""
    handler: Any = connections
    if not isinstance(handler._connections, _Guarded):
        handler._connections = _Guarded(handler._connections)
