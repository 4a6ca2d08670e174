"""One request per line, one answer per line. Standard library only: peers run it under their own interpreter."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any


def serve(driver: Any) -> None:
    """Answer ``{"verb": name, …}`` with ``{"ok": driver.name(…)}`` or ``{"error": traceback}`` until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what an engine prints must not get between the answers
    answers.write(json.dumps({"ok": "ready"}) + "\n")
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"ok": getattr(driver, request.pop("verb"))(**request)}
        except Exception:  # noqa: BLE001 - reported to the orchestrator
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
    answers.flush()
    os._exit(0)  # engines keep threads, which are no longer needed


def times(once: Callable[[], object], count: int, warmup: int) -> list[float]:
    """Milliseconds of each of ``count`` calls, after ``warmup`` that are not counted."""
    for _ in range(warmup):
        once()
    taken = []
    for _ in range(count):
        begin = time.perf_counter()
        once()
        taken.append((time.perf_counter() - begin) * 1000)
    return taken


def wait_for(done: Callable[[], bool], timeout: float = 120.0, pause: float = 0.005) -> None:
    deadline = time.monotonic() + timeout
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not done within {timeout:.0f} s")
        time.sleep(pause)


def worker_processes(arguments: list[str], work: Callable[[int], object]) -> None:
    """Run ``work(number)`` in ``--processes N`` processes: this one and those forked from it, before any connection."""
    count = int(arguments[arguments.index("--processes") + 1]) if "--processes" in arguments else 1
    for number in range(1, count):
        if os.fork() == 0:
            work(number)
            os._exit(0)
    work(0)
