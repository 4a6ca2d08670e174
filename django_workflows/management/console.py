"""What the subcommands write to: lines of text, coloured and as wide as the terminal where there is one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import Any

from django.core.management.base import OutputWrapper
from django.core.management.color import Style

#: columns where there is no terminal to ask
PLAIN_WIDTH = 100

_COLOURS = {
    "good": "SUCCESS",
    "bad": "ERROR",
    "busy": "WARNING",
    "faint": "HTTP_NOT_MODIFIED",
    "title": "MIGRATE_HEADING",
}


def _terminal_width() -> int:
    return shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns


@dataclass(slots=True)
class Console:
    """Where a subcommand writes. ``width`` is in columns; ``colour``: whether to send escape sequences."""

    stdout: OutputWrapper
    style: Style
    colour: bool = False
    width: int = field(default=0)

    def __post_init__(self) -> None:
        if not self.width:
            self.width = max(60, _terminal_width()) if self.stdout.isatty() else PLAIN_WIDTH

    @property
    def fancy(self) -> bool:
        """Whether block characters can be written; otherwise the drawings are ASCII."""
        encoding = (getattr(self.stdout, "encoding", None) or "ascii").lower().replace("-", "")
        return encoding.startswith("utf")

    def line(self, text: str = "") -> None:
        # Not through OutputWrapper.write's own style: parts of a line differ in colour.
        self.stdout.write(text)
        self.stdout.flush()

    def paint(self, text: str, colour: str) -> str:
        """``text`` in one of the colours good, bad, busy, faint, title; unchanged without a terminal."""
        if not self.colour or not text:
            return text
        painter: Any = getattr(self.style, _COLOURS[colour], None)
        return str(painter(text)) if painter else text
