"""SIGSTOP past the heartbeat timeout, then SIGCONT: the frozen worker's steps run elsewhere, its late results are refused."""

from __future__ import annotations

import os
import signal
import time

from trials.world import Report, World, attempts_explained


def run(world: World, report: Report) -> None:
    from collections import Counter

    from django_workflows.models import Step, Worker
    from tests.shop.models import Order
    from trials import bodies

    frozen: dict[int, float] = {}
    freezes = 0

    def freeze() -> None:
        nonlocal freezes
        now = time.monotonic()
        for pid, until in list(frozen.items()):
            if now >= until:
                os.kill(pid, signal.SIGCONT)
                del frozen[pid]
        if frozen or freezes >= world.count(2, 10):
            return
        busy = Step.objects.running().values("worker_id")
        candidates = list(
            Worker.objects.alive().filter(pk__in=busy, pid__in=workers.pids()).values_list("pid", flat=True)
        )
        if candidates:
            pid = world.chance.choice(candidates)
            os.kill(pid, signal.SIGSTOP)
            frozen[pid], freezes = now + 6.0, freezes + 1

    count = world.count(200, 1500)
    with world.workers(processes=3, concurrency=4) as workers:
        runs = [run.id for run in bodies.six_steps.start_many([((f"f{n}",), {}) for n in range(count)])]
        runs += [run.id for run in bodies.slow_step.start_many([((f"s{n}", 8.0), {}) for n in range(4)])]
        left = world.wait_for_ends(runs, 240, freeze)
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        if left:
            report.problems.append(f"{len(left)} runs stuck: {left[:3]}")
        report.figures["freezes"] = freezes
        if twice := [key for key, n in Counter(Order.objects.values_list("customer", flat=True)).items() if n > 1]:
            report.problems.append(f"applied twice: {twice[:3]}")
        attempts_explained(report)
        world.judge(report)
