"""Drawing a timeline in characters: blocks where the terminal has them, ASCII elsewhere."""

from __future__ import annotations

from datetime import datetime

from django_workflows.inspection.text import format_span
from django_workflows.values.text import truncate

from .console import Console
from .timeline import Row, Stretch, Timeline, length_of

_LABEL = 26
_LENGTH = 10
_BLOCKS = {
    Stretch.QUEUED: "·",
    Stretch.GOOD: "█",
    Stretch.BAD: "▒",
    Stretch.LOST: "░",
    Stretch.OPEN: "─",
}
_ASCII = {Stretch.QUEUED: ".", Stretch.GOOD: "#", Stretch.BAD: "x", Stretch.LOST: "?", Stretch.OPEN: "-"}
_COLOURS = {
    Stretch.QUEUED: "faint",
    Stretch.GOOD: "good",
    Stretch.BAD: "bad",
    Stretch.LOST: "bad",
    Stretch.OPEN: "faint",
}
_SIGNS = {
    "completed": ("✓", "+"),
    "disposed": ("✓", "+"),
    "failed": ("✗", "x"),
    "conflict": ("✗", "x"),
    "cancelled": ("·", "~"),
}
_SIGN_COLOURS = {"completed": "good", "disposed": "good", "failed": "bad", "conflict": "bad"}


def draw(console: Console, timeline: Timeline) -> list[str]:
    """The lines of a timeline, as wide as the console."""
    if not timeline.rows:
        return []
    canvas = max(16, min(60, console.width - _LABEL - _LENGTH - 34))
    total = format_span(timeline.end - timeline.start)
    scale = " " * (_LABEL + 3) + "0" + total.rjust(canvas - 1)
    lines = [console.paint(scale, "faint")]
    lines += [_draw_row(console, timeline, row, canvas) for row in timeline.rows]
    legend = _BLOCKS if console.fancy else _ASCII
    mark = "●" if console.fancy else "o"
    words = f"{legend[Stretch.QUEUED]} queued  {legend[Stretch.GOOD]} attempt  {legend[Stretch.BAD]} failed  "
    words += f"{legend[Stretch.LOST]} lost  {legend[Stretch.OPEN]} open  {mark} received"
    return [*lines, console.paint(" " * (_LABEL + 3) + words, "faint")]


def _draw_row(console: Console, timeline: Timeline, row: Row, canvas: int) -> str:
    fancy, plain = _SIGNS.get(row.state, ("○", "o") if row.state == "open" else ("…", "."))
    sign = console.paint(fancy if console.fancy else plain, _SIGN_COLOURS.get(row.state, "faint"))
    label = truncate(row.label, _LABEL).ljust(_LABEL)
    room = console.width - _LABEL - 3 - canvas - _LENGTH - 2
    note = row.note or ("" if row.state in ("completed", "disposed") else row.state)
    note = console.paint(truncate(note, room) if room > 8 else "", "bad" if row.state == "failed" else "faint")
    return f"{sign} {label} {_draw_bars(console, timeline, row, canvas)} {length_of(row):>{_LENGTH}} {note}".rstrip()


def _draw_bars(console: Console, timeline: Timeline, row: Row, canvas: int) -> str:
    glyphs = _BLOCKS if console.fancy else _ASCII
    cells: list[tuple[str, str]] = [(" ", "")] * canvas
    # Attempts last: a short one must not vanish under the queue time beside it.
    for bar in sorted(row.bars, key=lambda bar: bar.what is not Stretch.QUEUED):
        first = _column(timeline, bar.start, canvas)
        last = max(first + 1, _column(timeline, bar.end, canvas))
        for column in range(first, min(last, canvas)):
            cells[column] = (glyphs[bar.what], _COLOURS[bar.what])
    for moment in row.marks:
        cells[min(canvas - 1, _column(timeline, moment, canvas))] = ("●" if console.fancy else "o", "good")
    return _painted(console, cells)


def _column(timeline: Timeline, moment: datetime, canvas: int) -> int:
    span = (timeline.end - timeline.start).total_seconds()
    if span <= 0:
        return 0
    share = (moment - timeline.start).total_seconds() / span
    return max(0, min(canvas - 1, int(share * canvas)))


def _painted(console: Console, cells: list[tuple[str, str]]) -> str:
    """Neighbours of one colour share one escape sequence."""
    text, run, colour = "", "", ""
    for glyph, wanted in [*cells, ("", "end")]:
        if wanted != colour:
            text += console.paint(run, colour) if colour else run
            run, colour = "", wanted
        run += glyph
    return text
