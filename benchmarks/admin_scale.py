"""How long the admin's pages take at 10^6 runs and 10^7 events: ``python -m benchmarks.admin_scale [RUNS]``.

Brings its own PostgreSQL, fills it with SQL, asks each page for its HTML in-process (median and best of fifteen times),
and prints a table, with the statements that took longest. Needs some 8 GB of disk and ten minutes.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

_RUNS = """
INSERT INTO django_workflows_run (id, workflow, queue, priority, status, input, output, error, error_code, attributes,
    idempotency_key, parent_correlation_id, detached, forked_from, continued_from, seed, code_version, created_at,
    started_at, completed_at, wake_at, last_sequence, last_event_at, life, blocked_reason, blocked_until, blocked_count,
    blocked_version)
SELECT 'wrun_' || lpad(n::text, 26, '0'),
    'shop.workflows.' || (ARRAY['fulfil_order','remind','import_feed','subscribe','refund','nightly'])[1 + n %% 6],
    CASE WHEN n %% 10 = 0 THEN 'slow' WHEN n %% 99991 = 1 THEN 'rare' ELSE 'default' END, 0, state,
    '{"args":[' || n || '],"kwargs":{}}',
    CASE WHEN state = 'completed' THEN '{"status":"shipped","charge":"ch_' || n || '"}' END,
    CASE WHEN state = 'failed'
        THEN '{"type":"shop.bank.CardDeclinedError","message":"insufficient funds","args":[],"traceback":"'
        || repeat('  File shop/bank.py, line 88\\n', 40) || '","cause":null}' END,
    CASE WHEN state = 'failed' THEN 'user_error' ELSE '' END,
    jsonb_build_object('customer', 'c' || n %% 20000, 'shop.order', n::text),
    CASE WHEN n %% 3 = 0 THEN 'order-' || n END, '', false, '', '', md5(n::text), 'a1b2c3', born, born,
    CASE WHEN state IN ('completed', 'failed', 'cancelled') THEN born + interval '4 s' END,
    CASE WHEN state = 'running' AND n %% 10007 = 4 THEN now() - interval '3 s'
         WHEN state = 'running' THEN now() + interval '1 day' * (n %% 30 + 1) END,
    10, born, 0, CASE WHEN blocked THEN 'Replay diverged at event 8' ELSE '' END,
    CASE WHEN blocked THEN now() + interval '2 min' END, 0, ''
FROM (SELECT n, now() - interval '1 s' * ((%(runs)s - n) * 7.7) AS born, n %% 10 = 4 AND n %% 30011 = 4 AS blocked,
        CASE WHEN n %% 10 = 4 THEN 'running' WHEN n %% 97 = 1 THEN 'failed' WHEN n %% 211 = 1 THEN 'cancelled'
             ELSE 'completed' END AS state
      FROM generate_series(%(first)s::int, %(last)s::int) n) told
"""
_STEPS = """
INSERT INTO django_workflows_step (id, run_id, correlation_id, name, status, input, output, attempt, failures, losses,
    queue, priority, available_at, created_at, started_at, completed_at)
SELECT 'step_' || lpad((n * 3 + k)::text, 26, '0'), 'wrun_' || lpad(n::text, 26, '0'), 'step:' || k || ':1',
    'shop.workflows.' || (ARRAY['charge_card','mark_paid','send_receipt'])[k + 1], 'completed',
    '{"args":[' || n || '],"kwargs":{}}', 'true', 1, 0, 0, 'default', 0, born, born, born,
    born + interval '1 ms' * (n * 7 %% 900 + k * 40)
FROM generate_series(%(first)s::int, %(last)s::int) n, generate_series(0, 2) k,
    LATERAL (SELECT now() - interval '1 s' * ((%(runs)s - n) * 7.7) AS born) b
"""
_EVENTS = """
INSERT INTO django_workflows_event (run_id, sequence, type, correlation_id, data, life, created_at)
SELECT 'wrun_' || lpad(n::text, 26, '0'), k, type, correlation, '{"attempt":1,"output":"something of some length"}', 0,
    now() - interval '1 s' * ((%(runs)s - n) * 7.7) + interval '10 ms' * k
FROM generate_series(%(first)s::int, %(last)s::int) n, (VALUES (1,'run_created',''), (2,'run_started',''),
    (3,'step_created','step:0:1'), (4,'step_started','step:0:1'), (5,'step_completed','step:0:1'),
    (6,'step_created','step:1:1'), (7,'step_started','step:1:1'), (8,'step_completed','step:1:1'),
    (9,'step_created','step:2:1'), (10,'step_started','step:2:1')) AS e(k, type, correlation)
"""
_WAITS = """
INSERT INTO django_workflows_wait (id, run_id, correlation_id, status, due_at, created_at)
SELECT 'wait_' || substr(id, 6), id, 'wait:1', 'waiting', wake_at, created_at FROM django_workflows_run
WHERE status = 'running'
"""
_HOOKS = """
INSERT INTO django_workflows_hook (id, run_id, correlation_id, token, is_webhook, created_at)
SELECT 'hook_' || substr(id, 6), id, 'hook:1', 'packed:' || ltrim(substr(id, 6), '0'), false, created_at
FROM django_workflows_run WHERE status = 'running'
"""
_BATCH = 100_000


def fill(runs: int) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        for first in range(1, runs + 1, _BATCH):
            where = {"runs": runs, "first": first, "last": min(first + _BATCH - 1, runs)}
            for statement in (_RUNS, _STEPS, _EVENTS):
                cursor.execute(statement, where)
            print(f"  {where['last']:,} runs", flush=True)
        cursor.execute(_WAITS)
        cursor.execute(_HOOKS)
        cursor.execute("VACUUM (ANALYZE)")


def measure(ask: Callable[[], Any], rounds: int = 15) -> tuple[float, float, float, list[dict[str, str]]]:
    """Milliseconds: the median, the best, and this process's own time; and the statements of the last round.

    On a busy machine the process's own time and that of the statements say more than the clock.
    """
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    times, own = [], []
    for _ in range(rounds):
        begun, used = time.perf_counter(), time.process_time()
        assert ask().status_code == 200
        times.append((time.perf_counter() - begun) * 1000)
        own.append((time.process_time() - used) * 1000)
    with CaptureQueriesContext(connection) as queries:
        ask()
    return statistics.median(times), min(times), statistics.median(own), queries.captured_queries


def pages(runs: int) -> dict[str, str]:
    from django.contrib.admin.utils import quote
    from django.urls import reverse

    listing = reverse("admin:django_workflows_run_changelist")

    def of(number: int) -> str:
        return "wrun_" + str(number).zfill(26)

    middle = runs // 2
    edge = 1_000_000 * int(time.time() - (runs - middle) * 7.7)
    return {
        "list": listing,
        "list, a page in the middle": f"{listing}?before={edge}.x",
        "list, failed": f"{listing}?status=failed",
        "list, running (10^5)": f"{listing}?status=running",
        "list, blocked": f"{listing}?blocked=yes",
        "list, one workflow": f"{listing}?workflow=shop.workflows.refund",
        "list, failed of one workflow": f"{listing}?workflow=shop.workflows.remind&status=failed",
        "list, rare queue": f"{listing}?queue=rare",
        "list, last hour": f"{listing}?since=1h",
        "list, attribute of 50 runs": f"{listing}?attribute=customer%3Dc77",
        "list, attribute of one run": f"{listing}?attribute=shop.order%3D{middle}",
        "search by id": f"{listing}?q={of(middle)}",
        "search by token": f"{listing}?q=packed:14",
        "search by key": f"{listing}?q=order-{middle // 3 * 3}",
        "search by attribute value": f"{listing}?q=c77",
        "search for nothing there": f"{listing}?q=nothing-like-it",
        "run page": reverse("admin:django_workflows_run_change", args=[quote(of(middle))]),
        "overview": reverse("admin:django_workflows_overview"),
    }


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    from tests.postgres import Server

    with Server(options={"shared_buffers": "256MB", "max_wal_size": "8GB"}) as server:
        os.environ["DATABASE_URL"] = server.url
        import django

        django.setup()
        from django.contrib.auth.models import User
        from django.core.management import call_command
        from django.test import Client

        call_command("migrate", verbosity=0, run_syncdb=True)
        fill(runs)
        client = Client()
        client.force_login(User.objects.create_superuser("root"))
        from tests.admin.histories import worker

        worker()
        print(f"\n{runs:,} runs, {runs * 10:,} events, {runs * 3:,} steps; in-process, DEBUG off\n")
        print(f"| {'page':32} | median ms |  best ms | own ms | statements | slowest ms |\n|---|---|---|---|---|---|")
        slow: list[tuple[float, str, str]] = []
        for name, path in pages(runs).items():
            median, best, own, queries = measure(lambda path=path: client.get(path))  # type: ignore[misc]
            longest = max((float(query["time"]) * 1000, query["sql"]) for query in queries)
            print(
                f"| {name:32} | {median:9.1f} | {best:8.1f} | {own:6.1f} | {len(queries):10} | {longest[0]:10.0f} |",
                flush=True,
            )
            slow.append((longest[0], name, longest[1]))
        for took, name, sql in sorted(slow, reverse=True)[:6]:
            print(f"\n{took:.0f} ms in {name}:\n{sql[:1500]}")
        if "--keep" in sys.argv:
            input(f"\n{server.url}  (Enter ends the server) ")


if __name__ == "__main__":
    main()
