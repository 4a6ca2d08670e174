"""To whom an idempotency key belongs. The project's own code may use every key; a door with many users names its caller."""

from __future__ import annotations

from ..exceptions import EntityConflictError
from ..models import Event


def caller_of(event: Event) -> str | None:
    """Who used the key with which this event was made; None: the project's own code."""
    caller: str | None = event.payload.get("caller")
    return caller


def require_key_of(caller: str | None, event: Event) -> None:
    """Raises EntityConflictError, which says nothing about the event, where another caller used the key for it."""
    if caller is not None and caller_of(event) not in (None, caller):
        raise EntityConflictError("Another caller has used this idempotency key. Use another key.")
