"""The workloads by name, in the order in which they run. Those of one group share a database, a client and workers."""

from __future__ import annotations

from benchmarks.workloads import cost, floor, idle, outage, scale, speed, streams, volume
from benchmarks.workloads.workload import Workload

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for module in (floor, speed, cost, volume, streams, outage, idle, scale)
    for workload in module.WORKLOADS
}

__all__ = ["WORKLOADS", "Workload"]
