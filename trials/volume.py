"""5,000 parallel steps, 5,000 in sequence, 5,000 unread payloads on one hook."""

from __future__ import annotations

import time

from trials.world import Report, World


def run(world: World, report: Report) -> None:
    from django_workflows import api
    from django_workflows.models import Event
    from tests.support.eventually import eventually
    from trials import bodies

    n = world.count(1000, 5000)
    with world.workers(processes=1):
        for name, run in (("parallel", bodies.wide.start(n)), ("sequential", bodies.long.start(n))):
            began = time.monotonic()
            if run.result(timeout=300) != n * (n - 1) // 2:
                report.problems.append(f"{name}: a wrong sum")
            report.figures[name] = f"{time.monotonic() - began:.1f} s"
        unread = bodies.unread.start("unread", "gate", n)
        eventually(lambda: Event.objects.filter(run_id=unread.id, type="hook_created").count() == 2, "both hooks")
        began = time.monotonic()
        for number in range(n):
            api.resume_hook("unread", number)
        api.resume_hook("gate", None)
        if unread.result(timeout=120) != n * (n - 1) // 2:
            report.problems.append("unread: a wrong sum")
        report.figures["unread"] = f"{time.monotonic() - began:.1f} s"
        world.judge(report)
