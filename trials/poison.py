"""Bodies that loop, exit and diverge, beside 100 healthy runs: parked with a reason, the others unaffected."""

from __future__ import annotations

from typing import Any

from trials.world import Report, World


def _parked(run_id: str) -> Any:
    from django_workflows.models import Run
    from tests.support.eventually import eventually

    return eventually(lambda: Run.objects.blocked().filter(pk=run_id).first(), "the run is parked", timeout=60)


def run(world: World, report: Report) -> None:
    from trials import bodies

    settings = {"HANG_TIMEOUT": 2.0, "MAX_CRASHES": 2, "CACHE_SIZE": 1}
    with world.workers(processes=3, settings=settings):
        bad: list[Any] = [bodies.looping.start(), bodies.leaving.start(), bodies.diverging.start()]
        healthy = bodies.six_steps.start_many([((f"h{n}",), {}) for n in range(world.count(100, 400))])
        if left := world.wait_for_ends([run.id for run in healthy], 120):
            report.problems.append(f"{len(left)} healthy runs stuck: {left[:3]}")
        for run in bad[:2]:
            row = _parked(run.id)
            report.figures[row.workflow.rpartition(".")[2]] = repr(row.blocked_reason[:60])
        for run in bad[:2]:
            run.cancel(force=True)
        world.wait_for_ends([bad[2].id], 10)
        if bad[2].status() not in ("completed", "running"):
            report.problems.append(f"the diverging run is {bad[2].status()}, not parked")
        if bad[2].status() == "running":
            bad[2].cancel(force=True)
    from django_workflows.verify import verify_runs

    report.figures["violations"] = len(found := [v for v in verify_runs([run.id for run in healthy]) if v.rule != 8])
    report.problems.extend(map(str, found))
