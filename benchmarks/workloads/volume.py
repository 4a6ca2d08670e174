"""Much at once: a wide fan-out, sleeps that end together, resumes in a storm, and the replay of a long log."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import processes
from benchmarks.figures import Figure
from benchmarks.stage import Stage
from benchmarks.workloads.workload import Workload


def fan_out(stage: Stage, effort: float) -> Iterator[Figure]:
    engine = stage.engine.name
    stage.ask("fan_out", steps=100)
    yield Figure("fan-out 5000", engine, "total", stage.ask("fan_out", steps=5000), "s")
    peak = max(processes.peak_mebibytes(pid) for pid in stage.executors)
    yield Figure("fan-out 5000", engine, "peak RSS", peak, "MiB")


def sleeps_in_one(stage: Stage, effort: float) -> Iterator[Figure]:
    late = stage.ask("sleeping_in_one", count=1000, lead_s=4.0)
    yield Figure("1000 sleeps in one run", stage.engine.name, "run's end late", late, "s")


def resumes_to_one(stage: Stage, effort: float) -> Iterator[Figure]:
    yield from _resumes(stage, "1000 resumes to one run", "resumes_to_one")


def resumes_to_many(stage: Stage, effort: float) -> Iterator[Figure]:
    yield from _resumes(stage, "a resume to each of 1000 runs", "resumes_to_many")


def _resumes(stage: Stage, name: str, verb: str) -> Iterator[Figure]:
    stage.ask(verb, count=50, threads=4)
    found = stage.ask(verb, count=1000, threads=4)
    for figure, value in found.items():
        yield Figure(name, stage.engine.name, figure.removesuffix("_per_second"), value, "/s", higher=True)


def cold_replay(stage: Stage, effort: float) -> Iterator[Figure]:
    found = stage.ask("cold_replay", steps=3333)
    engine = stage.engine.name
    yield Figure("cold replay", engine, "events in the log", found["events"], "")
    yield Figure("cold replay", engine, "engine alone", found["engine_per_second"], "events/s", higher=True)
    yield Figure("cold replay", engine, "log read, too", found["whole_per_second"], "events/s", higher=True)


WORKLOADS = (
    Workload("fan-out", "fan-out", fan_out),
    Workload("sleeps", "volume", sleeps_in_one),
    Workload("resumes-one", "volume", resumes_to_one),
    Workload("resumes-many", "volume", resumes_to_many),
    Workload("replay", "replay", cold_replay),
)
