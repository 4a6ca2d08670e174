"""One worker's clock is an hour ahead, another's an hour behind: nothing is late or early by the database's clock."""

from __future__ import annotations

from trials.world import Report, World


def run(world: World, report: Report) -> None:
    from django_workflows.models import Event, Wait, Worker
    from trials import bodies

    with (
        world.workers(processes=1, shift=3600.0, wait=False),
        world.workers(processes=1, shift=-3600.0, wait=False),
    ):
        runs = [run.id for run in bodies.sleeper.start_many([((1.0,), {})] * world.count(50, 300))]
        if left := world.wait_for_ends(runs, 60):
            report.problems.append(f"{len(left)} runs stuck: {left[:3]}")
        skews = [round(worker.clock_skew) for worker in Worker.objects.all()]
        report.figures["skews"] = sorted(skews)
        late = 0.0
        for wait in Wait.objects.all():
            done = Event.objects.get(run_id=wait.run_id, type="wait_completed").created_at
            if done < wait.due_at:
                report.problems.append(f"{wait.run_id}: woken {wait.due_at - done} early")
            late = max(late, (done - wait.due_at).total_seconds())
        report.figures["latest"] = f"{late:.2f} s"
        if late > 5:
            report.problems.append(f"woken {late} s late")
        world.judge(report)
