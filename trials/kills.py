"""A random worker process gets SIGKILL every second or two, while runs of six steps are executed."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

from trials.world import Report, World, attempts_explained


def run(world: World, report: Report) -> None:
    from tests.shop.models import Ledger, Order
    from trials import bodies

    count = world.count(150, 2000)
    killed: list[int] = []
    next_kill = time.monotonic() + 0.5

    def kill() -> None:
        nonlocal next_kill
        if time.monotonic() < next_kill:
            return
        next_kill = time.monotonic() + world.chance.uniform(1.0, 3.0)
        if pids := workers.pids():
            pid = world.chance.choice(pids)
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    with world.workers(processes=3, concurrency=8) as workers:
        ids: list[str] = []
        left: list[str] = []
        for start in range(0, count, 100):  # a steady supply, so that kills meet every stage of a run
            keys = range(start, min(start + 100, count))
            ids += [run.id for run in bodies.six_steps.start_many([((f"k{n}",), {}) for n in keys])]
            left = world.wait_for_ends(ids[-100:], 180, kill)
            if left:
                report.problems.append(f"{len(left)} runs stuck: {left[:3]}")
                break
        report.figures["kills"] = len(killed)
        applied = Counter(Order.objects.values_list("customer", flat=True))
        expected = {f"k{n}:{part}" for n in range(len(ids)) for part in (2, 5)}
        twice = [key for key, times in applied.items() if times > 1]
        report.figures.update(atomic_steps=len(expected), applied_twice=len(twice), lost=len(expected - set(applied)))
        if twice or expected - set(applied):
            report.problems.append(f"atomic: twice {twice[:3]}, lost {sorted(expected - set(applied))[:3]}")
        effects = Counter(Ledger.objects.values_list("key", flat=True))
        missing = [f"k{n}:{part}" for n in range(len(ids)) for part in (1, 3, 4, 6) if not effects[f"k{n}:{part}"]]
        report.figures["effects_repeated"] = sum(times - 1 for times in effects.values())
        if missing:
            report.problems.append(f"effects lost: {missing[:3]}")
        attempts_explained(report)
        world.judge(report)
