"""``python -m trials [NAME…] [--long] [--seed N]``: each trial has a process and a PostgreSQL of its own.

The exit code is 1 if one fails.
"""

from __future__ import annotations

import argparse
import importlib
import secrets
import subprocess
import sys
import time

from trials.world import Report, World

TRIALS = (
    "seed_load",
    "posts",
    "swaps",
    "kills",
    "recovery",
    "freezes",
    "outage",
    "exhaustion",
    "cuts",
    "silence",
    "clocks",
    "poison",
    "children",
    "rolling_deploy",
    "volume",
    "refusals",
    "pooler",
    "isolation",
)


def run_one(name: str, seed: int, scale: float) -> Report:
    module = importlib.import_module(f"trials.{name}")
    world = World(seed, scale)
    report = Report(name)
    began = time.monotonic()
    try:
        module.run(world, report)
    except Exception as error:
        report.problems.append(f"{type(error).__name__}: {error}")
        raise
    finally:
        report.figures["seconds"] = round(time.monotonic() - began, 1)
        print(report, flush=True)
        world.close()
        if report.problems:
            print(f"       seed {seed}, the workers' log: {world.directory / 'workers.log'}", flush=True)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m trials")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {' '.join(TRIALS)} (default: all)")
    parser.add_argument("--long", action="store_true", help="the long form: minutes, not seconds")
    parser.add_argument("--seed", type=int, default=None, help="repeat a trial that failed")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    if options.here:
        return 1 if run_one(options.names[0], seed, 10 if options.long else 1).problems else 0
    print(f"seed {seed}", flush=True)
    failed = []
    for name in options.names or TRIALS:
        command = [
            sys.executable,
            "-m",
            "trials",
            name,
            "--here",
            "--seed",
            str(seed),
            *(["--long"] if options.long else []),
        ]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    print(f"failed: {' '.join(failed)} (seed {seed})" if failed else "all trials passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
