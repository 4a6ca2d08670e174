"""The machine on which the figures were measured, and how much of it other processes used meanwhile."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import psycopg

from benchmarks import processes

_TICKS = os.sysconf("SC_CLK_TCK")


class Bystanders:
    """The share of the processors used by other processes, from construction to :meth:`share`.

    Children that have ended count for their parents, so the family of this process is seen whole once it has waited.
    """

    def __init__(self) -> None:
        self._begin, self._busy, self._own = time.monotonic(), _busy(), _own()

    def share(self) -> float:
        """0.0 to 1.0 of all processors."""
        available = (time.monotonic() - self._begin) * (os.cpu_count() or 1)
        return max(0.0, (_busy() - self._busy) - (_own() - self._own)) / available


def _busy() -> float:
    """Seconds that all processors together have not been idle (user, nice, system, irq, softirq)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]]
    return (fields[0] + fields[1] + fields[2] + fields[5] + fields[6]) / _TICKS


def _own() -> float:
    ended = os.times()
    living = sum(processes.cpu_seconds(pid) + _children(pid) for pid in processes.family(os.getpid())[1:])
    return ended.user + ended.system + ended.children_user + ended.children_system + living


def _children(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[13]) + int(fields[14])) / _TICKS


def described(url: str, settings: dict[str, str | int], peers_python: str) -> str:
    """One paragraph: processors, Python, PostgreSQL and its settings, versions of what matters."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    packages = [f"{name} {version(name)}" for name in ("Django", "psycopg")] + peers(peers_python)
    given = ", ".join(f"{name}={value}" for name, value in settings.items() if name != "log_line_prefix")
    return (
        f"{os.cpu_count()} processors ({_model()}), Python {platform.python_version()}, "
        f"PostgreSQL {row[0] if row else '?'} (fsync and synchronous_commit on, {given}), {', '.join(packages)}."
    )


def peers(python: str) -> list[str]:
    """Names and versions of the peers that this interpreter can import."""
    code = (
        "from importlib.metadata import distributions as d\n"
        "print(*(f'{p.name} {p.version}' for p in d() if p.name in ('dbos', 'absurd-sdk')), sep='\\n')"
    )
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    return [line for line in found.split("\n") if line]


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
