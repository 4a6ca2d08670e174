"""One engine on the server: its database, a fresh copy of a template, its worker processes and its client process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Self

import psycopg
from psycopg import sql

from benchmarks import processes
from tests.postgres import Server

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT = 60.0  # seconds


@dataclass(frozen=True)
class Engine:
    """How to run an engine: arguments for ``python``. ``DATABASE_URL`` says on which database.

    ``worker`` None: its client executes the workflows itself.
    """

    name: str
    client: Sequence[str]
    worker: Sequence[str] | None
    migrate: Sequence[str]
    python: str = sys.executable
    peer: bool = False
    #: on a SQLite file of its own instead of the server
    sqlite: bool = False


def _peer(name: str, module: str, *client: str, worker: bool = True) -> Engine:
    command = ("-m", f"benchmarks.drivers.{module}")
    return Engine(
        name,
        client=(*command, "client", *client),
        worker=(*command, "worker") if worker else None,
        migrate=(*command, "migrate"),
        python=os.environ.get("PEERS_PYTHON", sys.executable),
        peer=True,
    )


OURS = Engine(
    "ours",
    client=("-m", "benchmarks.drivers.ours"),
    worker=("-m", "benchmarks.drivers.ours_worker"),
    migrate=("-m", "django", "migrate"),
)
#: no engine: its client measures the layers below one
FLOOR = replace(OURS, name="floor", client=("-m", "benchmarks.drivers.floor"), worker=None)
ON_SQLITE = replace(OURS, name="ours-sqlite", sqlite=True)
PEERS = (
    _peer("dbos-inside", "dbos_peer", "--inside", worker=False),
    _peer("dbos-queue", "dbos_peer"),
    _peer("absurd", "absurd_peer"),
)


class Stage:
    """A fresh database of ``engine``. A context manager; ends every process it started."""

    def __init__(self, engine: Engine, theatre: Theatre, database: str) -> None:
        self.engine, self.database, self._log = engine, database, theatre.log
        self.url = f"sqlite:///{theatre.files}/{database}.sqlite3" if engine.sqlite else theatre.url(database)
        self.server_log = theatre.server.directory / "log"
        self.results = Path(theatre.log.name).parent
        self.environment: dict[str, str] = {}
        self._client: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_client()
        self.stop_workers()

    # --- processes ---------------------------------------------------------------------------------------------------

    def _spawn(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "DATABASE_URL": self.url,
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
            "PYTHONPATH": str(ROOT),
            **self.environment,
        }
        return subprocess.Popen(
            [self.engine.python, *arguments], cwd=ROOT, env=environment, stderr=self._log, **options
        )

    def migrate(self) -> None:
        process = self._spawn(*self.engine.migrate, stdout=self._log)
        if process.wait(START_TIMEOUT) != 0:
            raise RuntimeError(f"{self.engine.name}: its tables could not be made, see {self._log.name}")

    def start_worker(self, *arguments: str, name: str = "first") -> subprocess.Popen[bytes]:
        """``name`` is the same after a restart: some engines resume what they left behind under it."""
        assert self.engine.worker is not None
        self.environment["BENCH_WORKER"] = name
        process = self._spawn(*self.engine.worker, *arguments, stdout=self._log, start_new_session=True)
        self.workers.append(process)
        return process

    def kill_worker(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL for the process and those it has started, all at once."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.workers.remove(process)

    def stop_workers(self) -> None:
        for process in self.workers:
            os.killpg(process.pid, signal.SIGTERM)
        for process in self.workers:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.workers.clear()

    @property
    def executors(self) -> list[int]:
        """The processes that execute workflows, the supervisors included."""
        found = list(self.workers)
        if self.engine.worker is None and self._client is not None:
            found.append(self._client)
        return [pid for process in found for pid in processes.family(process.pid)]

    @property
    def clients(self) -> list[int]:
        """The client, if it is not the worker, too."""
        return [] if self._client is None or self.engine.worker is None else [self._client.pid]

    def database_processes(self) -> list[int]:
        return [] if self.engine.sqlite else processes.family(self._postmaster())

    def _postmaster(self) -> int:
        """The server's first process, by the file that it keeps in its data directory."""
        return int((self.server_log.parent / "data" / "postmaster.pid").read_text().split()[0])

    def end_client(self) -> None:
        if self._client is not None:
            assert self._client.stdin is not None
            self._client.stdin.close()
            try:
                self._client.wait(10)
            except subprocess.TimeoutExpired:  # in the middle of something, as after Ctrl-C
                self._client.kill()
                self._client.wait()
            self._client = None

    # --- the client --------------------------------------------------------------------------------------------------

    def ask(self, verb: str, **arguments: Any) -> Any:
        """Have the client process do something. Raises RuntimeError with its traceback when it fails."""
        if self._client is None:
            self._client = self._spawn(*self.engine.client, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._answer()
        assert self._client.stdin is not None
        self._client.stdin.write(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
        self._client.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._client is not None
        assert self._client.stdout is not None
        line = self._client.stdout.readline()
        if not line:
            raise RuntimeError(f"The client of {self.engine.name} has ended, see {self._log.name}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.engine.name}:\n{answer['error']}")
        return answer["ok"]

    def query(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(text, parameters or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []


class Theatre:
    """The server, a directory for SQLite files, and a template of each engine's database: a fresh one costs a copy."""

    def __init__(self, server: Server, log: IO[bytes], files: Path) -> None:
        self.server, self.log, self.files = server, log, files
        self._templates: set[str] = set()
        self._count = 0

    def stage(self, engine: Engine) -> Stage:
        template = f"{engine.name}_template"
        if template not in self._templates and not engine.sqlite:
            self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(template)))
            Stage(engine, self, template).migrate()
            self._templates.add(template)
        self._count += 1
        if engine.sqlite:
            stage = Stage(engine, self, f"{engine.name}_{self._count}")
            stage.migrate()
            return stage
        name = f"{engine.name}_{self._count}"
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        self._execute(sql.SQL("CHECKPOINT"))
        return Stage(engine, self, name)

    def url(self, database: str) -> str:
        return self.server.url.replace("@/postgres?", f"@/{database}?")

    def _execute(self, statement: sql.Composed | sql.SQL) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                with psycopg.connect(self.server.url, autocommit=True) as connection:
                    connection.execute(statement)
                return
            except psycopg.errors.ObjectInUse:  # the migration's session is just ending
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
