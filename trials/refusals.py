"""A database that answers, and refuses: locks, a read-only server, a full disk, missing rights and columns, VACUUM FULL."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg

from trials.world import Report, World

ROLE = "app"
_FULL = (
    "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION SQLSTATE '53100'; END $$",
    "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON django_workflows_event FOR EACH ROW EXECUTE FUNCTION full_disk()",
)


class _Faults:
    """Each a block in which the database refuses. ``execute`` is the administrator's."""

    def __init__(self, url: str) -> None:
        self._url = url

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    @contextmanager
    def locked(self, statement: str) -> Iterator[None]:
        with psycopg.connect(self._url) as connection:
            connection.execute(statement)
            yield

    @contextmanager
    def switched(self, on: tuple[str, ...], off: tuple[str, ...]) -> Iterator[None]:
        self.execute(*on)
        try:
            yield
        finally:
            self.execute("SET default_transaction_read_only = off", *off)

    def all(self) -> dict[str, Callable[[], AbstractContextManager[None]]]:
        found: dict[str, Callable[[], AbstractContextManager[None]]] = {}
        for table in ("event", "step", "run", "wait", "worker"):
            for mode in ("SHARE", "ACCESS EXCLUSIVE"):
                statement = f"LOCK TABLE django_workflows_{table} IN {mode} MODE"
                found[f"{table} {mode}"] = lambda statement=statement: self.locked(statement)
        found["rows"] = lambda: self.locked(
            "SELECT id FROM django_workflows_run WHERE status = 'running' ORDER BY random() LIMIT 5 FOR UPDATE"
        )
        reload = "SELECT pg_reload_conf()"
        for name, on, off in (
            ("read-only", ("ALTER SYSTEM SET default_transaction_read_only = on", reload),
             ("ALTER SYSTEM RESET default_transaction_read_only", reload)),
            ("full disk", _FULL, ("DROP FUNCTION full_disk CASCADE",)),
            ("REVOKE", (f"REVOKE INSERT, UPDATE ON django_workflows_event, django_workflows_run FROM {ROLE}",),
             (f"GRANT INSERT, UPDATE ON django_workflows_event, django_workflows_run TO {ROLE}",)),
            ("column", ("ALTER TABLE django_workflows_step RENAME COLUMN output TO gone",),
             ("ALTER TABLE django_workflows_step RENAME COLUMN gone TO output",)),
            ("VACUUM FULL", ("VACUUM FULL django_workflows_event", "VACUUM FULL django_workflows_step"), ()),
        ):  # fmt: skip
            found[name] = lambda on=on, off=off: self.switched(on, off)
        return found


def run(world: World, report: Report) -> None:
    from trials import bodies

    faults = _Faults(world.server.url)
    faults.execute(
        f"CREATE ROLE {ROLE} LOGIN",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}",
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {ROLE}",
    )
    ledger = world.directory / "ledger"
    ledger.touch()
    options: dict[str, Any] = {"url": world.server.url.replace("postgres@", f"{ROLE}@")}
    late: dict[str, float] = {}
    count, ids = world.count(10, 50), []
    with world.workers(processes=2, concurrency=8, environment={"TRIAL_LEDGER": str(ledger)}, **options):
        for seconds in (1.0,) if world.scale <= 1 else (0.5, 4.0, 12.0):
            for name, fault in faults.all().items():
                runs = [
                    run.id for run in bodies.filing.start_many([((f"{name} {seconds} {n}",), {}) for n in range(count)])
                ]
                ids += runs
                time.sleep(0.2)  # so that it meets them at work
                with fault():
                    time.sleep(seconds)  # the fault itself
                ended = time.monotonic()
                if left := world.wait_for_ends(runs, 60):
                    report.problems.append(f"{name}, {seconds} s: {len(left)} runs stuck: {left[:3]}")
                late[name] = max(late.get(name, 0.0), time.monotonic() - ended)
    begun = Counter(ledger.read_text().splitlines())
    worst = max(late, key=lambda name: late[name])
    report.figures.update(
        faults=len(late) * (1 if world.scale <= 1 else 3),
        attempts=len(begun),
        begun_twice=sum(times > 1 for times in begun.values()),
        lost=len(ids) * 6 - len({line.split()[0] for line in begun}),
        longest_until_all_had_ended=f"{late[worst]:.1f} s after {worst}",
    )
    if report.figures["begun_twice"] or report.figures["lost"]:
        report.problems.append("attempts were begun twice under one number, or steps were lost")
    if repeated := [line for line in begun if not line.endswith(" 1")]:
        report.problems.append(f"{len(repeated)} attempts were repeated, though nothing was lost: {repeated[:3]}")
    world.judge(report)
