"""50 runs take two of five tokens each, in different orders: conflicts, no deadlock, no run stuck."""

from __future__ import annotations

from trials.world import Report, World


def run(world: World, report: Report) -> None:
    from django_workflows.models import Event, Hook
    from trials import bodies

    tokens = [f"token-{n}" for n in range(5)]
    with world.workers(processes=2):
        count = world.count(50, 500)
        calls: list[tuple[tuple[str, ...], dict[str, str]]] = [
            (tuple(world.chance.sample(tokens, 2)), {}) for _ in range(count)
        ]
        runs = bodies.swapping.start_many(calls)
        if stuck := world.wait_for_ends([run.id for run in runs], 90):
            report.problems.append(f"{len(stuck)} runs stuck: {stuck[:3]}")
        report.figures["conflicts"] = Event.objects.filter(type="hook_conflict").count()
        report.figures["won"] = Event.objects.filter(type="hook_created").count()
        if Hook.objects.active().exists():
            report.problems.append("a token is held by nobody who lives")
        world.judge(report)
