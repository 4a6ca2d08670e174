"""Other clients take every connection of the server and end the workers' own: workers wait and reconnect, nothing is lost."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from typing import Any

from trials.world import Report, World, attempts_explained


def run(world: World, report: Report) -> None:
    from django.db import DatabaseError, connections

    from tests.shop.models import Order
    from trials import bodies

    exhausted = held_most = 0
    next_at = time.monotonic() + 0.5

    def trouble() -> None:
        nonlocal exhausted, held_most, next_at
        if time.monotonic() < next_at or exhausted >= world.count(2, 8):
            return
        connections.close_all()
        held = _take_all(world.server.url)
        with suppress(DatabaseError):
            time.sleep(world.chance.uniform(0.5, 3.0))  # the exhaustion itself
        held_most, exhausted = max(held_most, len(held)), exhausted + 1
        for session in held:
            session.close()
        next_at = time.monotonic() + world.chance.uniform(0.5, 1.5)

    count = world.count(300, 2000)
    with world.workers(processes=2, concurrency=8):
        ids = [run.id for run in bodies.outlasting.start_many([((f"e{n}",), {}) for n in range(count)])]
        if left := world.wait_for_ends(ids, 300, trouble):
            report.problems.append(f"{len(left)} runs stuck: {left[:3]}")
        applied = Counter(Order.objects.values_list("customer", flat=True))
        twice = [key for key, times in applied.items() if times > 1]
        report.figures.update(exhausted=exhausted, connections_held=held_most, applied_twice=len(twice))
        if twice or not exhausted or len(applied) != 2 * count:
            report.problems.append(f"atomic: twice {twice[:3]}, {len(applied)} of {2 * count} applied")
        attempts_explained(report)
        world.judge(report)


def _take_all(url: str) -> list[Any]:
    """Connect until the server refuses, end all other sessions, and take their places as well."""
    import psycopg

    held: list[Any] = []
    for _ in range(3):
        with suppress(psycopg.OperationalError):
            while len(held) < 1000:
                held.append(psycopg.connect(url, autocommit=True, application_name="hoarder"))
        held[0].execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND application_name <> 'hoarder'"
        )
    return held
