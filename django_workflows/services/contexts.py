"""What the middleware captured for a run: taken at its start, recorded in ``run_created``, inherited from there."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .. import middleware
from ..exceptions import SerializationError
from ..serialization import Encoded, dumps
from ..store.limits import require_size
from .creation import first_event


def capture_context() -> Encoded | None:
    """What all of the middleware gives now, merged in order; None where that is nothing.

    Raises:
        TypeError: one gave no dict. SerializationError: what it gave cannot be stored. Exception: what it raised.
    """
    found: dict[str, Any] = {}
    for item in middleware.installed():
        given = item.capture()
        if not isinstance(given, dict):
            raise TypeError(f"{type(item).__name__}.capture() must return a dict, not {type(given).__name__}.")
        found |= given
    if not found:
        return None
    try:
        return require_size(dumps(found))
    except SerializationError as error:
        error.add_note("It was captured by the middleware for a run that is started.")
        raise


def inherited_context(run_id: str) -> dict[str, Any] | None:
    """What a run's child or successor inherits. A query of its own, and none where the project has no middleware."""
    return dict(context_of(run_id)) or None if middleware.installed() else None


@lru_cache(maxsize=4096)
def context_of(run_id: str) -> dict[str, Any]:
    """What was captured for the run; it never changes. Callers must not change it either."""
    return first_event(run_id).payload.get("context") or {}
