"""Text, cut to the room there is."""

from __future__ import annotations


def truncate(text: str, limit: int) -> str:
    """``text``, cut to ``limit`` characters where it is longer, with an ellipsis as the last."""
    return text if len(text) <= limit else text[: max(1, limit - 1)].rstrip() + "…"
