"""Searchable key/value metadata of a run, merged under its lock."""

from __future__ import annotations

from ..eventlog import events
from ..store.event_log import append
from ..store.transition import Transition

MAX_KEYS = 64


def set_attributes(
    transition: Transition, attributes: dict[str, str | None], correlation_id: str, *, limit: bool = True
) -> None:
    """Merge ``attributes`` into the run's; None removes a key.

    Raises:
        ValueError: the run would have more than 64 keys. (Not for the body's own decisions, which were judged when it
            made them: ``limit=False``.)
    """
    run = transition.run
    merged = {**run.attributes, **attributes}
    kept: dict[str, str] = {key: value for key, value in merged.items() if value is not None}
    if limit and len(kept) > MAX_KEYS:
        raise ValueError(
            f"A run takes at most {MAX_KEYS} attributes; this would make {len(kept)}. Remove some with None."
        )
    run.attributes = kept
    transition.run_changed = True
    append(transition, events.AttributesSet(attributes), correlation_id)
