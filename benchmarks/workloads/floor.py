"""The floor: what the database and the ways of talking to it cost before any engine."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figures import Figure
from benchmarks.stage import FLOOR, Stage
from benchmarks.workloads.workload import Workload


def floor(stage: Stage, effort: float) -> Iterator[Figure]:
    for name, milliseconds in stage.ask("floor", count=max(50, round(400 * effort))).items():
        yield Figure("floor", FLOOR.name, name, milliseconds, "ms")
    for name, rate in stage.ask("commits", threads=8, seconds=max(0.5, 3 * effort)).items():
        yield Figure("floor", FLOOR.name, f"{name}, 8 connections", rate, "/s", higher=True)


WORKLOADS = (Workload("floor", "floor", floor, engine=FLOOR),)
