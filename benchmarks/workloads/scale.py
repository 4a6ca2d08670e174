"""The same work on an empty database and beside a million finished and a hundred thousand sleeping runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benchmarks.figures import Figure
from benchmarks.stage import Stage
from benchmarks.workloads.workload import Workload

FINISHED, SLEEPING = 1_000_000, 100_000


def scale(stage: Stage, effort: float) -> Iterator[Figure]:
    yield from _figures(stage, "empty")
    finished, sleeping = round(FINISHED * effort), round(SLEEPING * effort)
    filled = stage.ask("fill", finished=finished, sleeping=sleeping)
    yield Figure("scale", stage.engine.name, "database size, full", filled["mebibytes"], "MiB")
    yield from _figures(stage, "full")


def _figures(stage: Stage, state: str) -> Iterator[Figure]:
    engine = stage.engine.name
    samples = stage.ask("latency", shape="sequence", steps=1, count=40, warmup=10)
    yield Figure("scale", engine, f"W1, {state}", statistics.median(samples), "ms", tuple(samples))
    found = stage.ask("throughput", runs=300, steps=3)
    yield Figure("scale", engine, f"T, {state}", found["per_second"], "runs/s", higher=True)
    for name, milliseconds in stage.ask("queries").items():
        yield Figure("scale", engine, f"{name}, {state}", milliseconds, "ms")


WORKLOADS = (Workload("scale", "scale", scale),)
