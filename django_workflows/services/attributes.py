"""Searchable key/value metadata of a run, merged under its lock."""

from __future__ import annotations

from ..eventlog import events
from ..store.event_log import append
from ..store.transition import Transition
from ..values.attributes import merge_attributes, require_few


def set_attributes(
    transition: Transition, attributes: dict[str, str | None], correlation_id: str, *, limit: bool = True
) -> None:
    """Merge ``attributes`` into the run's; None removes a key.

    Raises:
        ValueError: the run would have more than 64 keys. (Not for the body's own decisions, which were judged when it
            made them: ``limit=False``.)
    """
    run = transition.run
    merged = merge_attributes(run.attributes, attributes)
    if limit:
        require_few(merged)
    run.attributes = merged
    transition.run_changed = True
    append(transition, events.AttributesSet(attributes), correlation_id)
