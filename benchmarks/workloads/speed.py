"""How long a run takes, from ``start()`` in one process to its result there, executed by another; and how many per second."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benchmarks import processes
from benchmarks.figures import Figure, percentile
from benchmarks.stage import Stage
from benchmarks.workloads.workload import Measure, Workload

_LATENCIES = {
    "W": ("sequence", (0, 1, 10, 25, 50)),
    "C": ("gathered", (10, 25, 50)),
    "R": ("raced", (10, 50)),
    "P": ("payload_sequence", (10, 50)),
    "PC": ("payload_gathered", (50,)),
}


class Meter:
    """Processor time from its construction on. Unlike wall-clock time, it hardly depends on what else is running."""

    def __init__(self, stage: Stage) -> None:
        self._parties = {"worker": stage.executors, "client": stage.clients, "database": stage.database_processes()}
        self._before = {pid: processes.cpu_seconds(pid) for pids in self._parties.values() for pid in pids}

    def seconds(self) -> dict[str, float]:
        """Of the worker, the client and the database. A connection that was opened meanwhile is not seen."""
        return {
            party: sum(processes.cpu_seconds(pid) - self._before[pid] for pid in pids)
            for party, pids in self._parties.items()
        }


def latency(name: str, shape: str, steps: int) -> Measure:
    def measure(stage: Stage, effort: float) -> Iterator[Figure]:
        count = max(3, round((60 if steps <= 1 else 20) * effort))
        stage.ask("latency", shape=shape, steps=steps, count=max(2, count // 5), warmup=0)
        meter = Meter(stage)
        samples = stage.ask("latency", shape=shape, steps=steps, count=count, warmup=0)
        spent = sum(meter.seconds().values())
        yield Figure(name, stage.engine.name, "p50", statistics.median(samples), "ms", tuple(samples))
        yield Figure(name, stage.engine.name, "p99", percentile(samples, 99), "ms")
        yield Figure(name, stage.engine.name, "CPU of all", spent / count * 1000, "ms/run")

    return measure


def hooks(stage: Stage, effort: float) -> Iterator[Figure]:
    samples = stage.ask("hooks", count=max(5, round(50 * effort)), warmup=5)
    yield Figure("H", stage.engine.name, "p50", statistics.median(samples), "ms", tuple(samples))
    yield Figure("H", stage.engine.name, "p99", percentile(samples, 99), "ms")


def throughput(name: str, *, bulk: bool = False, steps: int = 3) -> Measure:
    """Runs per second until the last is complete, and the processor time of each party."""

    def measure(stage: Stage, effort: float) -> Iterator[Figure]:
        stage.ask("throughput", runs=50, steps=steps, bulk=bulk)
        runs = max(50, round(500 * effort))
        meter = Meter(stage)
        found = stage.ask("throughput", runs=runs, steps=steps, bulk=bulk)
        engine = stage.engine.name
        yield Figure(name, engine, "runs", found["per_second"], "runs/s", higher=True)
        yield Figure(name, engine, "starting alone", runs / found["starting_s"], "runs/s", higher=True)
        for party, spent in meter.seconds().items():
            yield Figure(name, engine, f"{party} CPU", spent / runs * 1000, "ms/run")
        if not bulk:
            peak = max(processes.peak_mebibytes(pid) for pid in stage.executors)
            yield Figure("Mem" if name == "T" else f"Mem {name}", engine, "peak RSS", peak, "MiB")

    return measure


def sleeping(stage: Stage, effort: float) -> Iterator[Figure]:
    late = stage.ask("sleeping", runs=max(50, round(500 * effort)), lead_s=4.0)
    yield Figure("S500", stage.engine.name, "last one late", late, "s")


def long(stage: Stage, effort: float) -> Iterator[Figure]:
    found = stage.ask("long", steps=2000)
    engine = stage.engine.name
    yield Figure("L2000", engine, "total", found["total_s"], "s")
    yield Figure("L2000", engine, "first hundred", found["first_ms"], "ms/step")
    yield Figure("L2000", engine, "last hundred", found["last_ms"], "ms/step")
    yield Figure("L2000", engine, "last to first", found["last_ms"] / found["first_ms"], "x")


def _latencies() -> Iterator[Workload]:
    for family, (shape, sizes) in _LATENCIES.items():
        for size in sizes:
            name = f"{family}{size}"
            yield Workload(name, "latency", latency(name, shape, size), peers=True, sqlite=name in {"W0", "W1", "W50"})


WORKLOADS = (
    *_latencies(),
    Workload("A50", "latency", latency("A50", "async_sequence", 50)),
    Workload("H", "latency", hooks, peers=True),
    Workload("T", "T", throughput("T"), peers=True, sqlite=True),
    Workload("T-start_many", "T", throughput("T-start_many", bulk=True), sqlite=True),
    Workload("T2", "T2", throughput("T2"), workers=2, peers=True, inside=False),
    Workload("T2-start_many", "T2", throughput("T2-start_many", bulk=True), workers=2),
    Workload("S500", "sleep", sleeping, peers=True),
    Workload("L2000", "long", long, peers=True),
)
