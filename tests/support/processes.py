"""Worker processes for tests and trials: started, watched through the database, killed by their own ids."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode

from django.db import connections

from django_workflows.models import Worker as WorkerRow
from tests.support.eventually import eventually

ROOT = Path(__file__).resolve().parent.parent.parent


def database_url() -> str:
    """The database that this process uses, pytest's test database included."""
    settings = connections["default"].settings_dict
    if "sqlite" in settings["ENGINE"]:
        return f"sqlite:///{settings['NAME']}"
    options = {key: value for key, value in settings["OPTIONS"].items() if isinstance(value, str)}
    query = urlencode({"host": settings["HOST"] or "", **options})
    port = f"&port={settings['PORT']}" if settings["PORT"] else ""
    return f"postgresql://{quote(settings['USER'])}@/{quote(str(settings['NAME']))}?{query}{port}"


class Workers:
    """One supervisor with its processes, running from construction to :meth:`stop`. Also a context manager."""

    def __init__(
        self,
        *modules: str,
        processes: int = 1,
        concurrency: int | None = None,
        settings: Mapping[str, Any] | None = None,
        queues: list[str] | None = None,
        url: str | None = None,
        shift: float = 0.0,
        settings_module: str = "tests.settings",
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
        wait: bool = True,
    ) -> None:
        options: dict[str, Any] = {"processes": processes, "concurrency": concurrency, "grace": 5.0, "queues": queues}
        self._known = set() if not wait else self._alive()
        self.processes = processes
        output = None if log is None else log.open("ab")
        self.supervisor = subprocess.Popen(
            [sys.executable, "-m", "tests.support.worker", *modules],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": settings_module,
                "DATABASE_URL": url or database_url(),
                "WORKER_SETTINGS": json.dumps(dict(settings or {})),
                "WORKER_OPTIONS": json.dumps(options),
                "WORKER_SHIFT": str(shift),
                **(environment or {}),
            },
            stdout=output,
            stderr=output,
        )
        if output is not None:
            output.close()
        if wait:
            self.rows()

    @staticmethod
    def _alive() -> set[str]:
        return set(WorkerRow.objects.alive().values_list("pk", flat=True))

    def rows(self) -> list[WorkerRow]:
        """The rows of this supervisor's processes, once all of them have registered."""

        def look() -> list[WorkerRow]:
            assert self.supervisor.poll() is None, f"the supervisor ended with {self.supervisor.returncode}"
            rows = WorkerRow.objects.alive().filter(pid__in=self.pids())
            return list(rows) if len(rows) >= self.processes else []

        return eventually(look, f"{self.processes} worker processes have registered")

    def pids(self) -> list[int]:
        """The worker processes that are there now, from the kernel."""
        path = Path(f"/proc/{self.supervisor.pid}/task/{self.supervisor.pid}/children")
        try:
            return [int(pid) for pid in path.read_text().split()]
        except FileNotFoundError:
            return []

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal to one worker process. Returns its id."""
        pid = self.pids()[0]
        os.kill(pid, number)
        return pid

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM, and the exit code of the supervisor."""
        if self.supervisor.poll() is None:
            for pid in self.pids():
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    continue
            self.supervisor.terminate()
        try:
            return self.supervisor.wait(timeout)
        except subprocess.TimeoutExpired:
            self.die()
            raise

    def die(self) -> None:
        """SIGKILL for the supervisor; its processes die with it."""
        self.supervisor.kill()
        self.supervisor.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.supervisor.poll() is None:
            if exc_info[0] is None:
                self.stop()
            else:
                self.die()
