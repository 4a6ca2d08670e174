"""How long after a SIGKILL a lost step begins again on a live worker: median and worst."""

from __future__ import annotations

import os
import signal
import statistics
import time

from trials.world import Report, World


def _wait_for_attempts(key: str, count: int) -> None:
    from tests.shop.models import Ledger
    from tests.support.eventually import eventually

    eventually(lambda: Ledger.objects.filter(key=key).count() == count, f"attempt {count} has begun", timeout=60)


def run(world: World, report: Report) -> None:
    from django_workflows.models import Event, Step, Worker
    from trials import bodies

    times: list[float] = []
    with world.workers(processes=2, settings={"POLL_INTERVAL": 1.0}) as workers:
        for number in range(world.count(5, 50)):
            workers.rows()
            key = f"r{number}"
            run = bodies.slow_step.start(key, 60.0)
            _wait_for_attempts(key, 1)
            pid = Worker.objects.get(pk=Step.objects.get(run_id=run.id).worker_id).pid
            began = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            _wait_for_attempts(key, 2)
            times.append(time.monotonic() - began)
            run.cancel(force=True)
        report.figures.update(kills=len(times), median=f"{statistics.median(times):.2f} s", worst=f"{max(times):.2f} s")
        if Event.objects.filter(type="step_retrying").count() != len(times):
            report.problems.append("a step was lost that no kill explains")
    world.judge(report, expected="cancelled", allowed=(8,))
