"""``python -m benchmarks``: measure, print the table, write table and raw lines to ``benchmarks/results/``."""

from __future__ import annotations

import argparse
import fnmatch
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from benchmarks import machine, profiling, report
from benchmarks.figures import Figure
from benchmarks.stage import FLOOR, ON_SQLITE, OURS, PEERS, Engine, Stage, Theatre
from benchmarks.workloads import WORKLOADS, Workload, cost
from tests.postgres import Server

ENGINES = (OURS, FLOOR, ON_SQLITE, *PEERS)
RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def main() -> int:
    options = _options()
    RESULTS.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    raw = RESULTS / f"{stamp}.jsonl"
    workloads = _chosen(options.only)
    engines = _engines(options.engines)
    figures: list[Figure] = []
    bystanders = machine.Bystanders()
    with (
        (RESULTS / f"{stamp}.log").open("ab") as log,
        Server(durable=True, options=_settings()) as server,
        tempfile.TemporaryDirectory() as files,
    ):
        theatre = Theatre(server, log, Path(files))
        where = machine.described(server.url, _settings(), PEERS[0].python)
        try:
            for repetition in range(options.repeat):
                for group, members in groupby(workloads, key=lambda workload: workload.group):
                    for engine, chosen in _turns(engines, list(members), repetition):
                        found = list(_play(theatre, engine, group, chosen, options, repetition))
                        report.write_raw(found, raw)
                        figures += found
        except KeyboardInterrupt:  # the table of all workloads
            where += " Interrupted."
        where += f" Repetitions: {options.repeat}. Other processes took {bystanders.share():.0%} of the processors."
    text = "\n\n".join([where, *_tables(figures, engines)])
    raw.with_suffix(".md").write_text(text + "\n")
    print(f"\n{text}\n\n{raw.with_suffix('.md')}")
    if options.docs:
        report.put_into(DOCS, text)
    return 0


def _tables(figures: Sequence[Figure], engines: Sequence[Engine]) -> Iterator[str]:
    peers = [engine.name for engine in engines if engine.peer]
    names = [engine.name for engine in engines if engine != FLOOR]
    if found := [figure for figure in figures if figure.engine in names]:
        yield report.table(found, names, peers)
    if floor := [figure for figure in figures if figure.engine == FLOOR.name]:
        yield report.table(floor, [FLOOR.name], [])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default="*", help="workloads, by comma; * and ? match: W50,T,C*")
    everyone = ",".join(engine.name for engine in ENGINES)
    default = everyone if os.environ.get("PEERS") else "ours,floor,ours-sqlite"
    parser.add_argument("--engines", default=default, help=f"by comma: {everyone}; default: {default}")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions of everything (default 3)")
    parser.add_argument("--effort", type=float, default=1.0, help="factor on the number of samples and runs")
    parser.add_argument("--docs", action="store_true", help=f"put the tables into {DOCS.name}, too")
    parser.add_argument(
        "--profile",
        choices=["cprofile", "py-spy"],
        nargs="?",
        const="py-spy",
        help="what the worker's time went into: sampled from outside (the default), or every call counted",
    )
    return parser.parse_args()


def _chosen(patterns: str) -> list[Workload]:
    chosen = [
        workload
        for workload in WORKLOADS.values()
        if any(fnmatch.fnmatchcase(workload.name, pattern) for pattern in patterns.split(","))
    ]
    if not chosen:
        sys.exit(f"No workload is called {patterns!r}. There are: {', '.join(WORKLOADS)}")
    return chosen


def _engines(names: str) -> list[Engine]:
    engines = [engine for engine in ENGINES if engine.name in names.split(",")]
    if any(engine.peer for engine in engines) and len(machine.peers(PEERS[0].python)) < 2:
        sys.exit(
            f"{PEERS[0].python} has no peers: pip install 'django-durable-workflows[bench]', or name in PEERS_PYTHON "
            "an interpreter that has them."
        )
    return engines


def _settings() -> dict[str, str | int]:
    """Durable, as PostgreSQL is by default; ``FLUSH_MS=1`` makes each commit wait as a slower disk would."""
    settings: dict[str, str | int] = {"shared_buffers": "256MB", **cost.SERVER_OPTIONS}
    if milliseconds := float(os.environ.get("FLUSH_MS", "0")):
        settings |= {"commit_delay": round(milliseconds * 1000), "commit_siblings": 0}
    return settings


def _turns(
    engines: Sequence[Engine], workloads: list[Workload], repetition: int
) -> Iterator[tuple[Engine, list[Workload]]]:
    """Engines take turns; the first one changes with each repetition."""
    first = repetition % len(engines)
    for engine in [*engines[first:], *engines[:first]]:
        if chosen := [workload for workload in workloads if workload.suits(engine, repetition)]:
            yield engine, chosen


def _play(
    theatre: Theatre,
    engine: Engine,
    group: str,
    workloads: Sequence[Workload],
    options: argparse.Namespace,
    repetition: int,
) -> Iterator[Figure]:
    with theatre.stage(engine) as stage:
        arguments = profiling.arguments(options.profile, RESULTS, group) if engine is OURS else []
        if engine.worker is not None and workloads[0].workers:
            stage.start_worker("--processes", str(workloads[0].workers), *arguments)
        for workload in workloads:
            with profiling.sampled(stage, options.profile, RESULTS, workload.name):
                for figure in _guarded(workload, stage, options.effort):
                    print(
                        f"{repetition + 1} {engine.name:8} {workload.name:14} {figure.name:16} "
                        f"{figure.value:12,.3f} {figure.unit}",
                        flush=True,
                    )
                    yield Figure(**{**vars(figure), "repetition": repetition})


def _guarded(workload: Workload, stage: Stage, effort: float) -> Iterator[Figure]:
    """A failing workload is reported and does not stop the others."""
    try:
        yield from workload.measure(stage, effort)
    except Exception as error:  # noqa: BLE001 - after any error the others continue
        print(f"! {stage.engine.name} {workload.name}: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
