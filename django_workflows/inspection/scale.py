"""The time axis of a timeline: linear where something runs, with long idle stretches folded to a fixed width.

A run that works for a second, sleeps for three days and works for another second would else show two hairlines.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..values.durations import humanize

#: an idle stretch is folded when it is longer than this many times all the work, and than half a second
_TIMES_WORK = 0.5
_AT_LEAST = timedelta(seconds=0.5)
#: width of a folded stretch, and of all of them together, in percent
_FOLD, _ALL_FOLDS = 14.0, 56.0

Interval = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the axis: from ``start`` to ``end`` in time, from ``left`` to ``left + width`` in percent."""

    start: datetime
    end: datetime
    left: float
    width: float
    folded: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on the axis. ``x`` as SVG wants it, ``anchor`` so that the label stays inside."""

    x: str
    label: str
    anchor: str = "middle"


class Scale:
    """Maps moments to percent of the width. Times outside are drawn at the edge."""

    def __init__(self, start: datetime, end: datetime, busy: Iterable[Interval] = (), *, fold: bool = True) -> None:
        self.start, self.end = start, max(end, start + timedelta(milliseconds=1))
        work = _union(busy, self.start, self.end)
        self.pieces = _pieces(self.start, self.end, work if fold else [])

    @property
    def folded(self) -> bool:
        return any(piece.folded for piece in self.pieces)

    def percent(self, moment: datetime) -> float:
        for piece in self.pieces:
            if moment <= piece.end:
                inside = max((moment - piece.start) / (piece.end - piece.start), 0.0)
                return piece.left + piece.width * min(inside, 1.0)
        return 100.0

    def x(self, moment: datetime) -> str:
        return percent(self.percent(moment))

    def folds(self) -> list[tuple[str, str, str, str]]:
        """The folded stretches: left, width and middle in percent, and how long they are."""
        return [
            (percent(p.left), percent(p.width), percent(p.left + p.width / 2), humanize(p.end - p.start))
            for p in self.pieces
            if p.folded
        ]

    def ticks(self) -> list[Tick]:
        """Time since the start, about every fifth of the width, at round values inside the linear stretches."""
        ticks = [Tick("0%", "0", "start")]
        last = 0.0
        for piece in self.pieces:
            if piece.folded or piece.width < 12:
                continue
            step = _round_step((piece.end - piece.start) / max(piece.width / 20, 1))
            at = self.start + step * ((piece.start - self.start) // step + 1)
            while at <= piece.end:
                x = self.percent(at)
                if x - last >= 11 and x <= 96:
                    ticks.append(Tick(percent(x), f"+{humanize(at - self.start)}"))
                    last = x
                at += step
        return ticks


def percent(value: float) -> str:
    """For SVG attributes: never localised."""
    return f"{value:.3f}".rstrip("0").rstrip(".") + "%"


def _union(intervals: Iterable[Interval], start: datetime, end: datetime) -> list[Interval]:
    merged: list[Interval] = []
    for left, right in sorted((max(a, start), min(b, end)) for a, b in intervals if a <= end and b >= start):
        if merged and left <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(right, merged[-1][1]))
        else:
            merged.append((left, right))
    return merged


def _pieces(start: datetime, end: datetime, work: list[Interval]) -> list[Piece]:
    total = sum((right - left for left, right in work), timedelta(0))
    longest = max(total * _TIMES_WORK, _AT_LEAST)
    gaps = [gap for gap in _gaps(start, end, work) if gap[1] - gap[0] > longest] if total else []
    if not gaps:
        return [Piece(start, end, 0.0, 100.0, False)]
    fold = min(_FOLD, _ALL_FOLDS / len(gaps))
    linear = (end - start) - sum((right - left for left, right in gaps), timedelta(0))
    per = (100.0 - fold * len(gaps)) / max(linear / timedelta(seconds=1), 1e-6)
    pieces: list[Piece] = []
    left, at = 0.0, start
    for gap_start, gap_end in [*gaps, (end, end)]:
        if gap_start > at:
            width = (gap_start - at) / timedelta(seconds=1) * per
            pieces.append(Piece(at, gap_start, left, width, False))
            left += width
        if gap_end > gap_start:
            pieces.append(Piece(gap_start, gap_end, left, fold, True))
            left += fold
        at = gap_end
    return pieces


def _gaps(start: datetime, end: datetime, work: list[Interval]) -> list[Interval]:
    gaps, at = [], start
    for left, right in [*work, (end, end)]:
        if left > at:
            gaps.append((at, left))
        at = max(at, right)
    return gaps


_STEPS = [
    timedelta(seconds=seconds)
    for seconds in (
        0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800,
        3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_592_000, 7_776_000, 31_536_000,
    )
]  # fmt: skip


def _round_step(rough: timedelta) -> timedelta:
    return next((step for step in _STEPS if step >= rough), rough)
