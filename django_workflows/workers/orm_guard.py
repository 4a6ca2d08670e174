"""Keeps the ORM out of bodies: while a body is drained, its thread's connections refuse everything."""

from __future__ import annotations

from typing import Any, NoReturn

from django.db import connections
from django.db.utils import ConnectionHandler

from ..engine import sandbox
from ..exceptions import WorkflowSandboxError

_ADVICE = "A workflow body cannot use the database: its answer would differ on replay. Put the query in a @step."


class _Refusing:
    """Stands in for a connection."""

    def __getattr__(self, name: str) -> NoReturn:
        raise WorkflowSandboxError(_ADVICE)


_refusing: Any = _Refusing()
_aliases: list[str] = []


def _close() -> list[Any]:
    storage = connections._connections  # type: ignore[attr-defined]
    saved = [getattr(storage, alias, None) for alias in _aliases]
    for alias in _aliases:
        setattr(storage, alias, _refusing)
    return saved


def _open(saved: list[Any]) -> None:
    storage = connections._connections  # type: ignore[attr-defined]
    for alias, connection in zip(_aliases, saved, strict=True):
        if connection is None:
            delattr(storage, alias)
        else:
            setattr(storage, alias, connection)


def _create_connection(alias: str) -> Any:
    """Under a running event loop Django keeps connections by context, so that a body would get one of its own."""
    if sandbox.is_draining():
        raise WorkflowSandboxError(_ADVICE)
    return ConnectionHandler.create_connection(connections, alias)


def install() -> None:
    """Guard every body that this process advances. Calling it again is harmless."""
    _aliases[:] = list(connections.settings)
    if (_close, _open) not in sandbox.guards:
        sandbox.guards.append((_close, _open))
        handler: Any = connections
        handler.create_connection = _create_connection
