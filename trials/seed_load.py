"""200 runs, each eight rounds of a hook's next payload against a sleep; ten resumes per token at once, three seconds in.

This load corrupted 0.1-0.4 % of the runs of an engine that decided on a stale log.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from trials.world import Report, World


def run(world: World, report: Report) -> None:
    from django.db import connections

    from django_workflows import api
    from django_workflows.exceptions import HookNotFoundError
    from django_workflows.models import Event
    from django_workflows.verify import verify_deliveries
    from trials import bodies

    with world.workers(processes=2):
        count = world.count(60, 200)
        tokens = [f"seed-{n}" for n in range(count)]
        runs = bodies.seed_load.start_many([((token,), {}) for token in tokens])
        time.sleep(world.count(1, 3))  # of the load, not of a test: resumes meet runs in the middle of their rounds
        jobs = [(token, n) for token in tokens for n in range(10)]
        world.chance.shuffle(jobs)

        def resume(job: tuple[str, int]) -> Event | None:
            try:
                return api.resume_hook(job[0], job[1])
            except HookNotFoundError:
                return None
            finally:
                connections.close_all()

        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(resume, jobs))
        accepted = [event for event in answers if event is not None]
        report.figures.update(accepted=len(accepted), refused=len(answers) - len(accepted))
        if stuck := world.wait_for_ends([run.id for run in runs], 120):
            report.problems.append(f"{len(stuck)} runs stuck: {stuck[:3]}")
        report.problems.extend(map(str, verify_deliveries(accepted)))
        world.judge(report)
