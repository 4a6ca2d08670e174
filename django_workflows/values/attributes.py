"""Attributes of a run: searchable text by key. How many there may be, and how a change is merged into them."""

from __future__ import annotations

from collections.abc import Mapping

#: keys of one run
MAX_ATTRIBUTES = 64


def merge_attributes(attributes: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """The attributes after a change: a new mapping in which None has removed its key."""
    merged = {**attributes, **changes}
    return {key: value for key, value in merged.items() if value is not None}


def require_few(attributes: Mapping[str, object]) -> None:
    """Raise ``ValueError`` for more than :data:`MAX_ATTRIBUTES` keys."""
    if len(attributes) > MAX_ATTRIBUTES:
        raise ValueError(
            f"A run takes at most {MAX_ATTRIBUTES} attributes; this would make {len(attributes)}. "
            "Remove some with None."
        )
