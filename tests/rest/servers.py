"""Web servers of their own, as processes: uvicorn and gunicorn over the tests' project and database."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote

PROJECT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "uvicorn": ["-m", "uvicorn", "tests.rest.site:asgi", "--log-level", "warning", "--lifespan", "off"],
    "gunicorn": ["-m", "gunicorn", "tests.rest.site:wsgi", "--worker-class", "gthread", "--threads", "10"],
}


def database_url() -> str:
    """Of the database that the running test uses."""
    from django.db import connection

    settings = connection.settings_dict
    if connection.vendor != "postgresql":
        return f"sqlite:///{settings['NAME']}"
    options = {"host": settings["HOST"], "port": settings["PORT"], **settings["OPTIONS"]}
    query = "&".join(f"{key}={quote(str(value))}" for key, value in options.items() if value)
    login = settings["USER"] + (f":{quote(settings['PASSWORD'])}" if settings["PASSWORD"] else "")
    return f"postgresql://{login}@/{settings['NAME']}?{query}"


@contextmanager
def serve(kind: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server's address and process, from when it answers until the end of the block. Loopback only."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    where = ["--port", str(port)] if kind == "uvicorn" else ["--bind", f"127.0.0.1:{port}"]
    env = {**os.environ, "DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "tests.settings", **environment}
    process = subprocess.Popen([sys.executable, *COMMANDS[kind], *where], cwd=PROJECT, env=env)
    try:
        _wait_until_it_answers(f"http://127.0.0.1:{port}/workflows/webhooks/unknown/", process)
        yield f"http://127.0.0.1:{port}/workflows/", process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    pause = threading.Event()
    while process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5)
        except HTTPError:
            return
        except OSError:
            pause.wait(0.05)
    raise RuntimeError(f"The server ended with {process.returncode}.")
