"""What an idle worker costs."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks import processes
from benchmarks.figures import Figure
from benchmarks.stage import Stage
from benchmarks.workloads import cost
from benchmarks.workloads.workload import Workload

SETTLE, WATCH = 5.0, 20.0  # seconds


def idle(stage: Stage, effort: float) -> Iterator[Figure]:
    cost.log_statements(stage)
    stage.start_worker("--processes", "1")
    stage.ask("latency", shape="sequence", steps=1, count=5, warmup=0)
    stage.end_client()
    time.sleep(SETTLE)
    watch = max(5.0, WATCH * min(1.0, effort))
    position = stage.server_log.stat().st_size
    spent = {pid: processes.cpu_seconds(pid) for pid in stage.executors}
    time.sleep(watch)
    used = sum(processes.cpu_seconds(pid) - before for pid, before in spent.items())
    statements = cost.statements(stage.server_log, position, stage.database).total()
    engine = stage.engine.name
    yield Figure("idle", engine, "of one core", used / watch * 100, "%")
    yield Figure("idle", engine, "statements", statements / watch, "/s")
    yield Figure("idle", engine, "RSS", max(processes.mebibytes(pid) for pid in stage.executors), "MiB")


WORKLOADS = (Workload("idle", "idle", idle, workers=0, peers=True, inside=False),)
