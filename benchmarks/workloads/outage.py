"""K: the worker is killed during a run. How long it takes beyond the work that was left, and how many steps run twice."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks import processes
from benchmarks.figures import Figure
from benchmarks.stage import Stage
from benchmarks.workloads.workload import Measure, Workload

STEPS, SECONDS = 50, 0.05
KILL_AFTER = 20  # steps begun
PATIENCE = 150.0  # seconds: longer than any peer's lease


def kill(*, another: bool) -> Measure:
    """``another``: a second worker is alive all the time. Otherwise the only one is started again at once."""

    def measure(stage: Stage, effort: float) -> Iterator[Figure]:
        name = "K another alive" if another else "K restarted"
        with tempfile.TemporaryDirectory(prefix="dwf-bench-") as directory:
            ledger = Path(directory) / "ledger"
            ledger.touch()
            excess, twice = _killed(stage, ledger, another=another)
        yield Figure(name, stage.engine.name, "beyond the work left", excess, "s")
        yield Figure(name, stage.engine.name, "steps run twice", twice, "")

    return measure


def _killed(stage: Stage, ledger: Path, *, another: bool) -> tuple[float, int]:
    first = stage.start_worker("--processes", "1", name="first")
    workers = [first, stage.start_worker("--processes", "1", name="second")] if another else [first]
    stage.ask("latency", shape="sequence", steps=1, count=5, warmup=0)
    run = stage.ask("start_laborious", ledger=str(ledger), steps=STEPS, seconds=SECONDS)
    while len(begun := _begun(ledger)) < KILL_AFTER:
        time.sleep(0.01)
    executing = next(worker for worker in workers if begun[-1][1] in processes.family(worker.pid))
    killed = time.time()
    stage.kill_worker(executing)
    if not another:
        stage.start_worker("--processes", "1", name="first")
    left = (STEPS - len(_begun(ledger)) + 1) * SECONDS
    try:
        excess = stage.ask("wait", run_id=run, timeout=PATIENCE) - killed - left
    except RuntimeError:
        excess = math.inf  # it was never resumed
    times = Counter(number for number, _ in _begun(ledger))
    return excess, sum(count > 1 for count in times.values())


def _begun(ledger: Path) -> list[tuple[int, int]]:
    """(step, process id) in the order in which they began."""
    lines = ledger.read_text().split(os.linesep)[:-1]
    return [(int(number), int(pid)) for number, pid in (line.split() for line in lines)]


WORKLOADS = (
    Workload("K-restart", "K-restart", kill(another=False), workers=0, peers=True, inside=False, once=True),
    Workload("K-another", "K-another", kill(another=True), workers=0, peers=True, inside=False, once=True),
)
