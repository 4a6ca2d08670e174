"""What a sequential step costs the database: statements, commits, flushes and bytes of WAL.

Counted from the server's log, which needs no extension and treats every engine alike: a session with runs of no step
and one with runs of fifty, each from the start of the worker to its end; the difference, by the number of steps, is the
price of one. The cost of polling and starting up is in both and cancels out.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.stage import Stage
from benchmarks.workloads.workload import Workload

STEPS = 50
#: one line of the log per execution, parsing and binding apart; the prefix is the database's name
_LINE = re.compile(r"^\[(?P<database>[^\]]*)\] LOG:  duration: [\d.]+ ms  (?:execute [^:]*|statement): (?P<text>.*)")
_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+\b")
#: options of the server that make the log countable; the logging itself is switched on for one database at a time
SERVER_OPTIONS: dict[str, str | int] = {"log_line_prefix": "[%d] "}


@dataclass(frozen=True)
class Cost:
    statements: int
    commits: int
    flushes: int
    wal_bytes: int
    texts: Counter[str]


def step_cost(stage: Stage, effort: float) -> Iterator[Figure]:
    """Figures per sequential step; the statements themselves go to a file beside the table."""
    runs = max(20, round(40 * effort))
    log_statements(stage)
    _autovacuum(stage, on=False)  # it writes at any time, also for other databases
    try:
        _session(stage, STEPS, 20)  # what is done once per database, and pages written whole after the last checkpoint
        empty, full = _session(stage, 0, runs), _session(stage, STEPS, runs)
    finally:
        _autovacuum(stage, on=True)
    steps = runs * STEPS
    for name, unit in (("statements", ""), ("commits", ""), ("flushes", ""), ("wal_bytes", "B")):
        per_step = (getattr(full, name) - getattr(empty, name)) / steps
        yield Figure("cost", stage.engine.name, f"{name.replace('_', ' ')} per step", per_step, unit)
    full.texts.subtract(empty.texts)
    path = stage.results / f"statements-{stage.engine.name}.txt"
    lines = [f"{count / steps:8.3f} per step  {text}" for text, count in full.texts.most_common(20) if count > 0]
    path.write_text("\n".join(lines) + "\n")


def log_statements(stage: Stage) -> None:
    """From the next session on, every statement of this database goes into the server's log."""
    stage.query(f'ALTER DATABASE "{stage.database}" SET log_min_duration_statement = 0')


def _autovacuum(stage: Stage, *, on: bool) -> None:
    stage.query(f"ALTER SYSTEM SET autovacuum = {'on' if on else 'off'}")
    stage.query("SELECT pg_reload_conf()")


def _session(stage: Stage, steps: int, runs: int) -> Cost:
    position = stage.server_log.stat().st_size
    commits, flushes, wal = _counters(stage)
    if stage.engine.worker is not None:
        stage.start_worker("--processes", "1")
    stage.environment["BENCH_LOOK"] = "0.05"  # a client that polls for the result is not what is counted
    stage.ask("latency", shape="sequence", steps=steps, count=runs, warmup=0)
    stage.end_client()
    stage.stop_workers()
    time.sleep(0.5)  # a session's counters arrive as it ends
    after = _counters(stage)
    texts = statements(stage.server_log, position, stage.database)
    return Cost(texts.total(), after[0] - commits, after[1] - flushes, after[2] - wal, texts)


def _counters(stage: Stage) -> tuple[int, int, int]:
    """Commits of this database, flushes and bytes of WAL of the whole server."""
    version = int(stage.query("SHOW server_version_num")[0][0])
    flushes = (
        "SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal' AND backend_type = 'client backend'"
        if version >= 180000
        else "SELECT wal_sync FROM pg_stat_wal"
    )
    row = stage.query(
        f"SELECT xact_commit, ({flushes}), pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
        " FROM pg_stat_database WHERE datname = current_database()"
    )[0]
    return int(row[0]), int(row[1] or 0), int(row[2])


def statements(log: Path, position: int, database: str) -> Counter[str]:
    """What was executed on the database since the log had ``position`` bytes, with literals taken out."""
    texts: list[str] = []
    ours = False
    with log.open(errors="replace") as file:
        file.seek(position)
        for line in file:
            if line.startswith("\t"):  # a statement of several lines
                if ours:
                    texts[-1] += " " + line.strip()
            elif ours := bool((match := _LINE.match(line)) and match["database"] == database):
                assert match is not None
                texts.append(match["text"].strip())
    return Counter(_LITERAL.sub("?", text.strip())[:160] for text in texts)


WORKLOADS = (Workload("cost", "cost", step_cost, workers=0, peers=True),)
