"""``python -m benchmarks``: measure, print the table, write table and raw lines to ``benchmarks/results/``."""

from __future__ import annotations

import argparse
import fnmatch
import os
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from benchmarks import counting, profiling, report
from benchmarks.catalogue import WORKERS, WORKLOADS, Workload
from benchmarks.figures import Figure
from benchmarks.stage import OURS, PEERS, Engine, Stage, Theatre
from tests.postgres import Server

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    options = _options()
    RESULTS.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    raw = RESULTS / f"{stamp}.jsonl"
    workloads = _chosen(options.only)
    engines = _engines(options.engines)
    figures: list[Figure] = []
    with (RESULTS / f"{stamp}.log").open("ab") as log, _server() as server:
        theatre = Theatre(server, log)
        for repetition in range(options.repeat):
            for group, members in groupby(workloads, key=lambda workload: workload.group):
                for engine, chosen in _turns(engines, list(members), repetition):
                    found = list(_play(theatre, engine, group, chosen, options, repetition))
                    report.write_raw(found, raw)
                    figures += found
    text = report.table(figures, [engine.name for engine in engines])
    raw.with_suffix(".md").write_text(text + "\n")
    print(f"\n{text}\n\n{raw.with_suffix('.md')}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default="*", help="workloads, by comma; * and ? match: W50,T,C*")
    everyone = ",".join(engine.name for engine in (OURS, *PEERS))
    parser.add_argument("--engines", default=everyone if os.environ.get("PEERS") else "ours", help=everyone)
    parser.add_argument("--repeat", type=int, default=3, help="repetitions of everything (default 3)")
    parser.add_argument("--effort", type=float, default=1.0, help="factor on the number of samples and runs")
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
    return [engine for engine in (OURS, *PEERS) if engine.name in names.split(",")]


def _server() -> Server:
    """Durable as PostgreSQL is by default; ``FLUSH_MS=1`` makes each commit wait as a slower disk would."""
    settings: dict[str, str | int] = {"shared_buffers": "256MB", **counting.SERVER_OPTIONS}
    if milliseconds := float(os.environ.get("FLUSH_MS", "0")):
        settings |= {"commit_delay": round(milliseconds * 1000), "commit_siblings": 0}
    return Server(durable=True, options=settings)


def _turns(
    engines: Sequence[Engine], workloads: list[Workload], repetition: int
) -> Iterator[tuple[Engine, list[Workload]]]:
    """Engines take turns; who begins changes from repetition to repetition."""
    first = repetition % len(engines)
    for engine in [*engines[first:], *engines[:first]]:
        chosen = [workload for workload in workloads if engine is OURS or workload.everyone]
        if engine.worker is None:
            chosen = [workload for workload in chosen if WORKERS.get(workload.group, 1) <= 1]
        if chosen:
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
        if engine.worker is not None and (workers := WORKERS.get(group, 1)):
            stage.start_worker("--processes", str(workers), *arguments)
        for workload in workloads:
            with profiling.sampled(stage, options.profile, RESULTS, workload.name):
                for figure in _guarded(workload, stage, options.effort):
                    print(f"{repetition + 1} {engine.name:8} {workload.name:14} {figure.name:16} "
                          f"{figure.value:12,.3f} {figure.unit}", flush=True)
                    yield Figure(**{**vars(figure), "repetition": repetition})


def _guarded(workload: Workload, stage: Stage, effort: float) -> Iterator[Figure]:
    """A workload that fails is told and does not take the others with it."""
    try:
        yield from workload.measure(stage, effort)
    except Exception as error:
        print(f"! {stage.engine.name} {workload.name}: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
