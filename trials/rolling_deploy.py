"""Two code versions of one workflow on live workers, runs starting all the time: no failure, no write by code that does not fit.

Workers of the first version are running when those of the second join them. A run that is past the place where the
second version has a new step fits only the code that took it there; workers with the other code park it and write nothing.
"""

from __future__ import annotations

from trials.world import Report, World


def run(world: World, report: Report) -> None:
    """Half a minute, or a whole one in the long form."""
    from tests.recovery.rolling_deploy import Figures, finish, load, workers

    seconds, figures = world.count(20, 60), Figures()
    log = world.directory / "rolling.log"
    with workers("1", settings_module="trials.settings", log=log):
        load(figures, seconds / 6, rate=20.0)
        with workers("2", settings_module="trials.settings", log=log):
            load(figures, seconds, rate=20.0)
            finish(figures, patience=60.0)
    report.figures.update(
        runs=figures.started,
        **{f"fits_{version}": count for version, count in sorted(figures.by_version.items())},
        parked_for_a_while=len(figures.blocked),
        tail_seconds=round(figures.tail, 1),
    )
    if figures.statuses != {"completed": figures.started}:
        report.problems.append(f"statuses: {figures.statuses}")
    report.problems += [f"{run_id}: no version makes the decisions of its log" for run_id in figures.misfits]
    if not figures.blocked:
        report.problems.append("no run ever met code that did not fit it: the trial shows nothing")
