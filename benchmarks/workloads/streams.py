"""Streams: the first chunk, a pipeline of steps, streams side by side, and many into one."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benchmarks.figures import Figure
from benchmarks.stage import Stage
from benchmarks.workloads.workload import Measure, Workload

CHUNK = 4096  # bytes
_SHAPES = {
    "pipeline": ("1 MiB through five steps", 1.0),
    "parallel": ("10 streams of 1 MiB side by side", 10.0),
    "fan": ("10 x 1 MiB written apart and merged", 10.0),
}


def first_chunk(stage: Stage, effort: float) -> Iterator[Figure]:
    samples = stage.ask("first_chunk", count=max(5, round(20 * effort)), warmup=3)
    value = statistics.median(samples)
    yield Figure("streams", stage.engine.name, "start() to first chunk", value, "ms", tuple(samples))


def shape(kind: str) -> Measure:
    def measure(stage: Stage, effort: float) -> Iterator[Figure]:
        name, mebibytes = _SHAPES[kind]
        samples = stage.ask("stream", shape=kind, count=max(1, round(3 * effort)), warmup=1, chunk_bytes=CHUNK)
        value = statistics.median(samples)
        yield Figure("streams", stage.engine.name, name, value, "ms", tuple(samples))
        yield Figure("streams", stage.engine.name, f"{name}: rate", mebibytes / value * 1000, "MiB/s", higher=True)

    return measure


WORKLOADS = (
    Workload("stream-first", "streams", first_chunk),
    *(Workload(f"stream-{kind}", "streams", shape(kind)) for kind in _SHAPES),
)
