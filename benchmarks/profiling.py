"""Where a worker's time goes: py-spy samples it from outside, cProfile counts every call and slows it down."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import processes
from benchmarks.stage import Stage

RATE = 1000  # samples per second


def arguments(how: str | None, results: Path, group: str) -> list[str]:
    """The worker's arguments, if it is to profile itself."""
    return ["--profile", str(results / f"profile-{group}.txt")] if how == "cprofile" else []


@contextmanager
def sampled(stage: Stage, how: str | None, results: Path, workload: str) -> Iterator[None]:
    """Sample the workers during the block; the stacks go to a file, the heaviest lines to a second one."""
    if how != "py-spy" or not stage.workers:
        yield
        return
    stage.ask("latency", shape="sequence", steps=1, count=20, warmup=0)  # it is up, and warm
    command = Path(sys.executable).with_name("py-spy")
    program = str(command) if command.exists() else shutil.which("py-spy")
    if program is None:
        raise SystemExit("--profile needs py-spy: pip install py-spy (or --profile cprofile)")
    worker = processes.family(stage.workers[0].pid)[-1]
    stacks = results / f"profile-{workload}.stacks"
    # --gil: what holds the interpreter, and not what waits; --nonblocking: the worker is not paused for a sample
    options = ["--pid", str(worker), "--rate", str(RATE), "--gil", "--nonblocking", "--format", "raw"]
    options += ["--output", str(stacks)]
    spy = subprocess.Popen([program, "record", *options, "--duration", "3600"], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        spy.send_signal(signal.SIGINT)
        spy.wait(30)
        (results / f"profile-{workload}.txt").write_text(heaviest(stacks))


def heaviest(stacks: Path, count: int = 45) -> str:
    """The functions that most samples were in: by themselves, and with what they called."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in stacks.read_text().splitlines():
        stack, _, samples = line.rpartition(" ")
        frames = stack.split(";")
        own[frames[-1]] += int(samples)
        for frame in {frame.rpartition(":")[0] for frame in frames}:
            total[frame] += int(samples)
    everything = sum(own.values()) or 1
    lines = [f"{everything} samples at {RATE} Hz of the thread that held the interpreter"]
    for title, counts in (("line, by itself", own), ("function, with what it called", total)):
        lines += ["", title]
        lines += [f"{100 * n / everything:5.1f} %  {frame}" for frame, n in counts.most_common(count)]
    return "\n".join(lines) + "\n"
