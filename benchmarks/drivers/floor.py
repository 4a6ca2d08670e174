"""What a round trip, a commit and a transition cost before any engine: on bare tables, with psycopg and with Django.

A transition here is: lock the run, add three events, add a step, update the run. Each figure is a median in
milliseconds, on one connection, unless it says otherwise.
"""

from __future__ import annotations

import itertools
import os
import statistics
import threading
import time
from collections.abc import Callable

import psycopg
from django.db import connections, models, transaction

from benchmarks.drivers import django_ready  # noqa: F401 - before models
from benchmarks.drivers.protocol import serve, times

URL = os.environ["DATABASE_URL"]
_TABLES = """
CREATE TABLE floor_run (id text PRIMARY KEY, sequence int NOT NULL, wake_at timestamptz);
CREATE INDEX ON floor_run (wake_at) WHERE wake_at IS NOT NULL;
CREATE TABLE floor_event (id bigserial PRIMARY KEY, run_id text NOT NULL REFERENCES floor_run, sequence int NOT NULL,
    type text NOT NULL, data text NOT NULL, UNIQUE (run_id, sequence));
CREATE TABLE floor_step (id text PRIMARY KEY, run_id text NOT NULL REFERENCES floor_run, status text NOT NULL);
INSERT INTO floor_run SELECT 'run-' || n, 0, NULL FROM generate_series(0, 99) n;
"""
LOCK = "SELECT sequence FROM floor_run WHERE id = %s FOR NO KEY UPDATE"
EVENTS = f"INSERT INTO floor_event (run_id, sequence, type, data) VALUES {', '.join(['(%s, %s, %s, %s)'] * 3)}"
STEP = "INSERT INTO floor_step VALUES (%s, %s, %s)"
MOVE = "UPDATE floor_run SET sequence = %s, wake_at = now() WHERE id = %s"
CTE = """WITH run AS (UPDATE floor_run SET sequence = %s, wake_at = now() WHERE id = %s AND sequence = %s RETURNING id),
event AS (INSERT INTO floor_event (run_id, sequence, type, data) SELECT run.id, given.* FROM run, (VALUES
    (%s::int, %s, %s), (%s::int, %s, %s), (%s::int, %s, %s)) AS given),
step AS (INSERT INTO floor_step SELECT %s, run.id, %s FROM run)
SELECT id FROM run"""
CLAIM = """UPDATE floor_run SET wake_at = NULL WHERE id IN (
    SELECT id FROM floor_run WHERE wake_at <= now() ORDER BY wake_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id"""
FINISH = "UPDATE floor_run SET wake_at = now() WHERE id = ANY(%s)"


class FloorRun(models.Model):  # noqa: DJ008 - never displayed
    id = models.TextField(primary_key=True)
    sequence = models.IntegerField()
    wake_at = models.DateTimeField(null=True)

    class Meta:
        app_label, managed, db_table = "benchmarks", False, "floor_run"


class FloorEvent(models.Model):  # noqa: DJ008 - never displayed
    run = models.ForeignKey(FloorRun, models.DO_NOTHING)
    sequence = models.IntegerField()
    type = models.TextField()
    data = models.TextField()

    class Meta:
        app_label, managed, db_table = "benchmarks", False, "floor_event"


class FloorStep(models.Model):  # noqa: DJ008 - never displayed
    id = models.TextField(primary_key=True)
    run = models.ForeignKey(FloorRun, models.DO_NOTHING)
    status = models.TextField()

    class Meta:
        app_label, managed, db_table = "benchmarks", False, "floor_step"


class Floor:
    def __init__(self) -> None:
        self._plain = psycopg.connect(URL, autocommit=True)
        self._plain.execute(_TABLES)
        self._count = itertools.count(1)
        self._sequence = 0  # of run-0

    def floor(self, count: int) -> dict[str, float]:
        figures: dict[str, Callable[[], object]] = {
            "roundtrip": lambda: self._plain.execute("SELECT 1").fetchall(),
            "one autocommit insert": lambda: self._plain.execute(STEP, [self._id(), "run-0", "x"]),
            "transition: 4 statements": self._four,
            "transition: 4 statements, pipelined": self._pipelined,
            "transition: one statement (CTE)": lambda: self._plain.execute(CTE, self._cte()).fetchall(),
            "Django: transition through the ORM": self._orm,
            "Django: 4 statements on its cursor": self._django_four,
            "Django: the CTE on its cursor": lambda: self._django_cte("default"),
            "Django: the CTE, bound and prepared by the server": lambda: self._django_cte("prepared"),
            "Django: bulk_create of 3 events": self._bulk_create,
            "Django: create": lambda: FloorStep.objects.create(id=self._id(), run_id="run-0", status="x"),
            "claim 1 and finish 1": lambda: self._claim(1),
            "claim 10 and finish 10": lambda: self._claim(10),
        }
        self._prepared_alias()
        self._plain.execute("UPDATE floor_run SET wake_at = now() WHERE id <> 'run-0'")
        found = {name: statistics.median(times(once, count, count // 10)) for name, once in figures.items()}
        return found | {"NOTIFY heard elsewhere": self._notify(count)}

    def commits(self, threads: int, seconds: float) -> dict[str, float]:
        """Autocommit inserts per second from several connections, without and with a NOTIFY in each."""
        return {
            "commits": self._storm(threads, seconds, STEP),
            "commits with NOTIFY": self._storm(
                threads, seconds, f"WITH new AS ({STEP} RETURNING id) SELECT pg_notify('floor', id) FROM new"
            ),
        }

    # --- transitions -------------------------------------------------------------------------------------------------

    def _id(self) -> str:
        return f"step-{next(self._count)}"

    def _events(self) -> list[object]:
        first = self._sequence + 1
        self._sequence += 3
        return [value for n in range(3) for value in ("run-0", first + n, "step_completed", '{"output": 1}')]

    def _cte(self) -> list[object]:
        before = self._sequence
        events = [value for value in self._events() if value != "run-0"]
        return [self._sequence, "run-0", before, *events, self._id(), "running"]

    def _statements(self) -> list[tuple[str, list[object]]]:
        events = self._events()
        return [
            (LOCK, ["run-0"]),
            (EVENTS, events),
            (STEP, [self._id(), "run-0", "running"]),
            (MOVE, [self._sequence, "run-0"]),
        ]

    def _four(self) -> None:
        with self._plain.transaction():
            for text, values in self._statements():
                self._plain.execute(text, values)

    def _pipelined(self) -> None:
        with self._plain.pipeline(), self._plain.transaction():
            for text, values in self._statements():
                self._plain.execute(text, values)

    def _orm(self) -> None:
        with transaction.atomic():
            run = FloorRun.objects.select_for_update(no_key=True).get(pk="run-0")
            self._bulk_create()
            FloorStep.objects.create(id=self._id(), run=run, status="running")
            FloorRun.objects.filter(pk="run-0").update(sequence=self._sequence)

    def _bulk_create(self) -> None:
        first = self._sequence + 1
        self._sequence += 3
        FloorEvent.objects.bulk_create(
            FloorEvent(run_id="run-0", sequence=first + n, type="step_completed", data='{"output": 1}')
            for n in range(3)
        )
        if not transaction.get_connection().in_atomic_block:
            self._plain.execute(MOVE, [self._sequence, "run-0"])

    def _django_four(self) -> None:
        with transaction.atomic(), connections["default"].cursor() as cursor:
            for text, values in self._statements():
                cursor.execute(text, values)

    def _django_cte(self, alias: str) -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute(CTE, self._cte())
            cursor.fetchall()

    def _prepared_alias(self) -> None:
        settings = connections.settings["default"]
        options = {**settings["OPTIONS"], "server_side_binding": True, "prepare_threshold": 5}
        connections.settings["prepared"] = {**settings, "OPTIONS": options}

    def _claim(self, count: int) -> None:
        claimed = self._plain.execute(CLAIM, [count]).fetchall()
        self._plain.execute(FINISH, [[row[0] for row in claimed]])

    # --- NOTIFY and many connections ---------------------------------------------------------------------------------

    def _notify(self, count: int) -> float:
        heard: list[float] = []
        with psycopg.connect(URL, autocommit=True) as listener:
            listener.execute("LISTEN floor")
            for _ in range(count):
                begin = time.perf_counter()
                self._plain.execute("NOTIFY floor")
                next(listener.notifies(timeout=5, stop_after=1))
                heard.append((time.perf_counter() - begin) * 1000)
        return statistics.median(heard)

    def _storm(self, threads: int, seconds: float, text: str) -> float:
        deadline = time.perf_counter() + seconds
        done: list[int] = []

        def insert() -> None:
            own = 0
            with psycopg.connect(URL, autocommit=True) as connection:
                while time.perf_counter() < deadline:
                    connection.execute(text, [self._id(), "run-0", "x"])
                    own += 1
            done.append(own)

        workers = [threading.Thread(target=insert) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(done) / seconds


if __name__ == "__main__":
    serve(Floor())
