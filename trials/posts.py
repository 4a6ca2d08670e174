"""Two steps gathered, then a webhook, many times in sequence, in many runs; each webhook posted to as soon as it exists."""

from __future__ import annotations

import threading
import time

from trials.world import Report, World


def run(world: World, report: Report) -> None:
    from django.db import connections

    from django_workflows import api
    from django_workflows.exceptions import HookNotFoundError
    from trials import bodies

    rounds, count = world.count(5, 20), world.count(15, 50)
    statuses: list[str] = []
    with world.workers(processes=2):
        runs = bodies.posted.start_many([((f"post-{n}", rounds), {}) for n in range(count)])

        def post(n: int) -> None:
            for number in range(rounds):
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline:
                    try:
                        api.resume_hook(f"post-{n}.{number}", number)
                    except HookNotFoundError:
                        time.sleep(0.01)
                    else:
                        statuses.append("202")
                        break
                else:
                    statuses.append("never there")
            connections.close_all()

        threads = [threading.Thread(target=post, args=(n,)) for n in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        report.figures.update(posts=len(statuses), accepted=statuses.count("202"))
        if statuses.count("202") != rounds * count:
            report.problems.append(f"{len(statuses) - statuses.count('202')} webhooks never came to be")
        if stuck := world.wait_for_ends([run.id for run in runs], 60):
            report.problems.append(f"{len(stuck)} runs stuck: {stuck[:3]}")
        from django_workflows.models import Event

        if conflicts := Event.objects.filter(type="hook_conflict").count():
            report.problems.append(f"{conflicts} conflicts")
        world.judge(report)
