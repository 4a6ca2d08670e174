"""One figure of one repetition, and summaries of several."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """``value`` is the repetition's median (or its only value); ``samples`` are the single measurements, if any.

    ``higher`` says that more is better, as in runs per second.
    """

    workload: str
    engine: str
    name: str
    value: float
    unit: str
    samples: tuple[float, ...] = ()
    higher: bool = False
    repetition: int = 0


def percentile(samples: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: always one of the samples."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]


@dataclass(frozen=True)
class Summary:
    """Over the repetitions: the median of their values, and the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        return cls(statistics.median(values), min(values), max(values))
