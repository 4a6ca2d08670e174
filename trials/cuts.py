"""Connections cut just before and just after a COMMIT, and late messages: nothing is lost, nothing happens twice."""

from __future__ import annotations

from collections import Counter

from trials.proxy import Proxy
from trials.world import Report, World, attempts_explained


def run(world: World, report: Report) -> None:
    from tests.shop.models import Order
    from trials import bodies

    proxy = Proxy(world.server.directory, world.chance, cut_before=0.01, cut_after=0.02, delay=0.002)
    count = world.count(100, 1000)
    with world.workers(processes=2, url=f"postgresql://postgres@/postgres?host={proxy.directory}"):
        ids = [run.id for run in bodies.outlasting.start_many([((f"c{n}",), {}) for n in range(count)])]
        left = world.wait_for_ends(ids, 240)
        proxy.calm()
        if left:
            report.problems.append(f"{len(left)} runs stuck: {left[:3]}")
        report.figures.update(cut_before=proxy.cuts["before"], cut_after=proxy.cuts["after"])
        applied = Counter(Order.objects.values_list("customer", flat=True))
        twice = [key for key, times in applied.items() if times > 1]
        missing = [f"c{n}:{part}" for n in range(count) for part in (1, 3) if f"c{n}:{part}" not in applied]
        report.figures.update(atomic_steps=2 * count, applied_twice=len(twice), lost=len(missing))
        if twice or missing:
            report.problems.append(f"atomic: twice {twice[:3]}, lost {missing[:3]}")
        attempts_explained(report)
        world.judge(report)
    proxy.close()
