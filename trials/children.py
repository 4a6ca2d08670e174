"""Parents and children: many at once, and recursion deeper than there are slots. Waiting holds no worker."""

from __future__ import annotations

import time

from trials.world import Report, World


def run(world: World, report: Report) -> None:
    """200 parents with 5 instant children each; Fibonacci by recursion, depth 10, on 4 slots."""
    from django_workflows.models import Outbox, Run
    from tests.recovery import bodies
    from tests.support.processes import Workers

    options = {"settings_module": "trials.settings", "log": world.directory / "children.log"}
    with Workers("tests.recovery.bodies", processes=2, concurrency=2, **options):
        begun = time.monotonic()
        parents = bodies.parent.start_many([((5,), {})] * world.count(200, 1000))
        _await(world, report, [handle.id for handle in parents], "parents")
        report.figures["parents_seconds"] = round(time.monotonic() - begun, 1)
        begun = time.monotonic()
        fibonacci = bodies.fibonacci.start(10)
        _await(world, report, [fibonacci.id], "fibonacci")
        report.figures["fibonacci_seconds"] = round(time.monotonic() - begun, 1)
    if not report.problems:
        if fibonacci.result(timeout=0) != 55:
            report.problems.append(f"fibonacci(10) came out as {fibonacci.result(timeout=0)}")
        wrong = [handle.id for handle in parents if handle.result(timeout=0) != [0, 1, 2, 3, 4]]
        report.problems += [f"{run_id}: a child's result was lost or doubled" for run_id in wrong]
    report.figures["parents"] = Run.objects.filter(workflow=bodies.parent.name).count()
    if owed := Outbox.objects.count():
        report.problems.append(f"{owed} rows are left in the outbox")
    world.judge(report)


def _await(world: World, report: Report, run_ids: list[str], what: str) -> None:
    left = world.wait_for_ends(run_ids, timeout=120.0)
    if left:
        report.problems.append(f"{what}: {len(left)} have not ended")
