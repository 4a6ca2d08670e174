"""The workers of django_workflows, as ``manage.py workflows worker`` runs them: a supervisor and its processes.

``--profile FILE`` runs one worker without a supervisor, every thread under cProfile, and writes the profile at the end.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--concurrency", type=int)
    parser.add_argument("--profile", type=Path)
    options = parser.parse_args()

    import django

    django.setup()
    from django_workflows.workers.process import WorkerProcess, install_signals
    from django_workflows.workers.supervisor import Supervisor, WorkerOptions

    if options.profile is None:
        worker = WorkerOptions(processes=options.processes, concurrency=options.concurrency, grace=2.0)
        return Supervisor(worker).run()
    with _Profiles(options.profile):
        process = WorkerProcess(concurrency=options.concurrency, grace=2.0)
        install_signals(process.stop)
        process.run()
    return 0


class _Profiles:
    """One profile per thread, merged at the end: cProfile sees only the thread that enabled it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._profiles: list[cProfile.Profile] = []

    def __enter__(self) -> None:
        if sys.version_info < (3, 12):  # from then on one profile sees all threads
            threading.setprofile(self._begin)
        self._profiles.append(cProfile.Profile())
        self._profiles[0].enable()

    def _begin(self, _frame: FrameType, _event: str, _argument: Any) -> None:
        sys.setprofile(None)
        profile = cProfile.Profile()
        self._profiles.append(profile)
        profile.enable()

    def __exit__(self, *_: object) -> None:
        for profile in self._profiles:
            profile.disable()
            profile.create_stats()
        first, *others = [profile for profile in self._profiles if profile.stats]
        with self._path.open("w") as file:
            stats = pstats.Stats(first, stream=file)
            for other in others:
                stats.add(other)
            stats.sort_stats("tottime").print_stats(60)
            stats.sort_stats("cumulative").print_stats(60)
        stats.dump_stats(self._path.with_suffix(".pstats"))


if __name__ == "__main__":
    raise SystemExit(main())
