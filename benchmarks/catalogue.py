"""The workloads by name. Those of one group share a fresh database, a client and the group's worker processes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks import counting, processes
from benchmarks.figures import Figure, percentile
from benchmarks.stage import Stage

Measure = Callable[[Stage, float], Iterator[Figure]]

#: one worker process for each group, if nothing else is said
WORKERS = {"T2": 2, "kill": 0, "cost": 0}


@dataclass(frozen=True)
class Workload:
    """``measure`` gets the stage and a factor on the number of samples. ``everyone``: peers can do it, too."""

    name: str
    group: str
    measure: Measure
    everyone: bool = False


_LATENCIES = {
    "W": ("sequence", (0, 1, 10, 25, 50)),
    "C": ("gathered", (10, 25, 50)),
    "R": ("raced", (10, 50)),
    "P": ("payload_sequence", (10, 50)),
    "PC": ("payload_gathered", (50,)),
    "A": ("async_sequence", (50,)),
}


def _latency(name: str, shape: str, steps: int) -> Measure:
    def measure(stage: Stage, effort: float) -> Iterator[Figure]:
        count = max(3, round((60 if steps <= 1 else 20) * effort))
        samples = stage.ask("latency", shape=shape, steps=steps, count=count, warmup=max(2, count // 5))
        yield Figure(name, stage.engine.name, "p50", statistics.median(samples), "ms", tuple(samples))
        yield Figure(name, stage.engine.name, "p99", percentile(samples, 99), "ms")

    return measure


def _hooks(stage: Stage, effort: float) -> Iterator[Figure]:
    samples = stage.ask("hooks", count=max(5, round(50 * effort)), warmup=5)
    yield Figure("H", stage.engine.name, "p50", statistics.median(samples), "ms", tuple(samples))
    yield Figure("H", stage.engine.name, "p99", percentile(samples, 99), "ms")


def _throughput(name: str, *, bulk: bool = False, warm: bool = True) -> Measure:
    def measure(stage: Stage, effort: float) -> Iterator[Figure]:
        if warm:
            stage.ask("throughput", runs=50, steps=3, bulk=bulk)
        runs = max(50, round(500 * effort))
        before = {pid: processes.cpu_seconds(pid) for pid in stage.executors}
        found = stage.ask("throughput", runs=runs, steps=3, bulk=bulk)
        worked = sum(processes.cpu_seconds(pid) - spent for pid, spent in before.items())
        yield Figure(name, stage.engine.name, "runs", found["per_second"], "runs/s", higher=True)
        yield Figure(name, stage.engine.name, "starting alone", runs / found["starting_s"], "runs/s", higher=True)
        yield Figure(name, stage.engine.name, "worker CPU", worked / runs * 1000, "ms/run")
        if not bulk:
            peak = max(processes.peak_mebibytes(pid) for pid in stage.executors)
            yield Figure("Mem" if name == "T" else f"Mem {name}", stage.engine.name, "peak RSS", peak, "MiB")

    return measure


def _sleeping(stage: Stage, effort: float) -> Iterator[Figure]:
    late = stage.ask("sleeping", runs=max(50, round(500 * effort)), lead_s=4.0)
    yield Figure("S500", stage.engine.name, "last one late", late, "s")


def _long(stage: Stage, effort: float) -> Iterator[Figure]:
    found = stage.ask("long", steps=2000)
    yield Figure("L2000", stage.engine.name, "total", found["total_s"], "s")
    yield Figure("L2000", stage.engine.name, "first hundred", found["first_ms"], "ms/step")
    yield Figure("L2000", stage.engine.name, "last hundred", found["last_ms"], "ms/step")
    yield Figure("L2000", stage.engine.name, "last to first", found["last_ms"] / found["first_ms"], "×")


WORKLOADS: dict[str, Workload] = {}


def add(workload: Workload) -> None:
    WORKLOADS[workload.name] = workload


for _family, (_shape, _sizes) in _LATENCIES.items():
    for _size in _sizes:
        _name = f"{_family}{_size}"
        add(Workload(_name, "latency", _latency(_name, _shape, _size), everyone=_family != "A"))
add(Workload("H", "latency", _hooks, everyone=True))
add(Workload("T", "T", _throughput("T"), everyone=True))
add(Workload("T-start_many", "T", _throughput("T-start_many", bulk=True)))
add(Workload("T2", "T2", _throughput("T2"), everyone=True))
add(Workload("S500", "sleep", _sleeping, everyone=True))
add(Workload("L2000", "long", _long, everyone=True))
add(Workload("cost", "cost", counting.step_cost, everyone=True))
