"""PostgreSQL is crashed or stopped and started again under load, and the server ends single sessions."""

from __future__ import annotations

import time

from trials.world import Report, World, attempts_explained


def run(world: World, report: Report) -> None:
    from collections import Counter

    from django.db import DatabaseError, connection, connections

    from tests.shop.models import Order
    from trials import bodies

    outages = ended = 0
    next_at = time.monotonic() + 1.0

    def trouble() -> None:
        nonlocal outages, ended, next_at
        if time.monotonic() < next_at:
            return
        next_at = time.monotonic() + world.chance.uniform(2.0, 4.0)
        if outages < world.count(2, 8) and world.chance.random() < 0.6:
            connections.close_all()
            world.server.stop(immediate=world.chance.random() < 0.5)
            time.sleep(world.chance.uniform(0.2, 2.0))  # the outage itself
            world.server.start()
            outages += 1
            return
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 3"
                )
                ended += cursor.rowcount
        except DatabaseError:
            connections.close_all()

    count = world.count(300, 2000)
    with world.workers(processes=2, concurrency=8):
        ids = [run.id for run in bodies.outlasting.start_many([((f"o{n}",), {}) for n in range(count)])]
        if left := world.wait_for_ends(ids, 300, trouble):
            report.problems.append(f"{len(left)} runs stuck: {left[:3]}")
        report.figures.update(outages=outages, sessions_ended=ended)
        applied = Counter(Order.objects.values_list("customer", flat=True))
        twice = [key for key, times in applied.items() if times > 1]
        missing = [f"o{n}:{part}" for n in range(count) for part in (1, 3) if f"o{n}:{part}" not in applied]
        report.figures.update(atomic_steps=2 * count, applied_twice=len(twice), lost=len(missing))
        if twice or missing:
            report.problems.append(f"atomic: twice {twice[:3]}, lost {missing[:3]}")
        attempts_explained(report)
        world.judge(report)
