"""REPEATABLE READ and SERIALIZABLE, as the project's setting and as the database's default, for workers and callers."""

from __future__ import annotations

import time

from trials.world import Report, World, attempts_begun_once


def run(world: World, report: Report) -> None:
    from django.db import connection
    from psycopg import IsolationLevel

    from django_workflows import api
    from django_workflows.models import Event, Run
    from trials import bodies

    count = world.count(30, 400)
    for level in (IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE):
        name = level.name.lower()
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE postgres SET default_transaction_isolation = '{name.replace('_', ' ')}'")
        connection.close()
        connection.settings_dict["OPTIONS"]["isolation_level"] = level
        began = time.monotonic()
        environment = {"TRIAL_ISOLATION": str(int(level))}
        with world.workers(processes=2, concurrency=8, environment=environment):
            runs = bodies.six_steps.start_many([((f"{name}{n}",), {}) for n in range(count)])
            runs += bodies.unread.start_many([((f"{name}.{n}", f"{name}.gate{n}", 5), {}) for n in range(count // 5)])
            hooks = [f"{name}.{n}" for n in range(count // 5)]
            created = len(hooks) * 2
            while Event.objects.filter(type="hook_created", run__in=[run.id for run in runs]).count() < created:
                if time.monotonic() - began > 60:
                    report.problems.append(f"{name}: hooks are missing")
                    break
                time.sleep(0.05)
            for token in hooks:
                for payload in range(5):
                    api.resume_hook(token, payload)
                api.resume_hook(token.replace(".", ".gate"), 0)
            if left := world.wait_for_ends([run.id for run in runs], 120):
                report.problems.append(f"{name}: {len(left)} runs stuck: {left[:3]}")
                for row in Run.objects.filter(pk__in=left[:3]):
                    report.problems.append(f"{row.pk}: {row.status} {row.blocked_reason}")
        report.figures[f"{name}_seconds"] = round(time.monotonic() - began, 1)
    # an atomic step whose transaction conflicts is given back and runs again: its transaction has the project's level
    repeated = [event.payload for event in Event.objects.filter(type="step_retrying")]
    failed = [payload["error"]["message"] for payload in repeated if not payload.get("lost")]
    report.figures.update(given_back=len(repeated) - len(failed), attempts_that_failed=len(failed))
    if failed:
        report.problems.append(f"attempts failed, first: {failed[0]}")
    attempts_begun_once(report)
    world.judge(report)
