"""Every NOTIFY is suppressed: timers, retries, outcomes and new runs are found by polling."""

from __future__ import annotations

from trials.world import Report, World


def run(world: World, report: Report) -> None:
    from django_workflows import conf
    from trials import bodies

    conf.settings.__dict__["LISTEN"] = False
    with world.workers(processes=2, settings={"LISTEN": False}):
        runs = [run.id for run in bodies.six_steps.start_many([((f"n{n}",), {}) for n in range(world.count(50, 500))])]
        if left := world.wait_for_ends(runs, 120):
            report.problems.append(f"{len(left)} runs stuck: {left[:3]}")
        world.judge(report)
