"""Workers, with and without LISTEN_DATABASE, behind PgBouncer in transaction mode; one gets SIGKILL now and then."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from typing import Any

from trials.world import Report, World, attempts_begun_once, attempts_explained


def run(world: World, report: Report) -> None:
    from django.db import connections

    from tests.shop.models import Order
    from tests.support.pgbouncer import ABSENT, PROGRAM, PgBouncer
    from trials import bodies

    if PROGRAM is None:
        report.figures["skipped"] = ABSENT
        return
    count = world.count(60, 1500)
    kills = 0
    next_kill = time.monotonic() + 1.0

    def kill() -> None:
        nonlocal kills, next_kill
        if time.monotonic() < next_kill:
            return
        next_kill = time.monotonic() + world.chance.uniform(2.0, 4.0)
        group = world.chance.choice(groups)
        if pids := group.pids():
            os.kill(world.chance.choice(pids), signal.SIGKILL)
            kills += 1

    with PgBouncer(world.server.url, pool_size=8) as pooler:
        through: dict[str, Any] = {"url": pooler.url, "environment": {"DIRECT_DATABASE_URL": world.server.url}}
        groups = [
            world.workers(processes=1, concurrency=8, settings={"LISTEN_DATABASE": alias}, **through)
            for alias in ("direct", None)
        ]
        runs = bodies.six_steps.start_many([((f"p{n}",), {}) for n in range(count)])
        left = world.wait_for_ends([run.id for run in runs], 240, kill)
        if left:
            report.problems.append(f"{len(left)} runs stuck: {left[:3]}")
        world.stop_workers()
        applied = Counter(Order.objects.values_list("customer", flat=True))
        expected = {f"p{n}:{part}" for n in range(count) for part in (2, 5)}
        report.figures.update(
            kills=kills,
            lost=len(expected - set(applied)),
            applied_twice=sum(times > 1 for times in applied.values()),
        )
        if expected - set(applied) or max(applied.values()) > 1:
            report.problems.append("atomic steps were lost or applied twice")
        said = (world.directory / "workers.log").read_text()
        if wrong := [line for line in said.splitlines() if "prepared statement" in line or "is away" in line]:
            report.problems.append(f"{len(wrong)} lines like {wrong[-1]}")
        attempts_begun_once(report)
        attempts_explained(report)
        world.judge(report)
        connections.close_all()
