"""The client of django_workflows: what a view or a command of a site would call."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Max

from benchmarks import workflows as w
from benchmarks.drivers import django_ready, ours_at_scale  # noqa: F401 - the first sets up, in this order
from benchmarks.drivers.protocol import serve, times, wait_for
from django_workflows import HookNotFoundError, RunHandle
from django_workflows.api import get_hook_by_token, resume_hook
from django_workflows.models import Run

SHAPES = {
    "sequence": w.sequence,
    "gathered": w.gathered,
    "raced": w.raced,
    "payload_sequence": w.payload_sequence,
    "payload_gathered": w.payload_gathered,
    "async_sequence": w.async_sequence,
}
TIMEOUT = 60


class Ours:
    """Each method is a verb of the protocol; times in milliseconds unless the name says otherwise."""

    def latency(self, shape: str, steps: int, count: int, warmup: int) -> list[float]:
        workflow = SHAPES[shape]
        return times(lambda: workflow.start(steps).result(timeout=TIMEOUT), count, warmup)

    def throughput(self, runs: int, steps: int, bulk: bool = False) -> dict[str, float]:
        """Runs per second from the first start to the last end; how long starting alone took (s)."""
        since = datetime.now(UTC)
        begin = time.perf_counter()
        if bulk:
            w.sequence.start_many([((steps,), {})] * runs)
        else:
            for _ in range(runs):
                w.sequence.start(steps)
        started = time.perf_counter() - begin
        ended = self._all_ended(since)
        return {"per_second": runs / (ended - since).total_seconds(), "starting_s": started}

    def hooks(self, count: int, warmup: int) -> list[float]:
        return [self._resume_one() for _ in range(warmup + count)][warmup:]

    def _resume_one(self) -> float:
        token = uuid.uuid4().hex
        run = w.hooked.start(token)
        _wait_for_hook(token)
        begin = time.perf_counter()
        resume_hook(token, {"answer": 42})
        run.result(timeout=TIMEOUT)
        return (time.perf_counter() - begin) * 1000

    def sleeping(self, runs: int, lead_s: float) -> float:
        """Seconds from the instant that all runs sleep to until the last of them has ended."""
        since = datetime.now(UTC)
        until = since + timedelta(seconds=lead_s)
        w.sleeper.start_many([((until,), {})] * runs)
        return (self._all_ended(since) - until).total_seconds()

    def sleeping_in_one(self, count: int, lead_s: float) -> float:
        until = datetime.now(UTC) + timedelta(seconds=lead_s)
        run = w.sleepers.start(until, count)
        run.result(timeout=TIMEOUT)
        return (Run.objects.get(pk=run.id).completed_at - until).total_seconds()

    def long(self, steps: int) -> dict[str, float]:
        """Total seconds, and milliseconds per step in the first and the last hundred."""
        begin = time.perf_counter()
        stamps = w.stamps.start(steps).result(timeout=TIMEOUT)
        total = time.perf_counter() - begin
        first, last = (stamps[100] - stamps[0]) * 10, (stamps[-1] - stamps[-101]) * 10
        return {"total_s": total, "first_ms": first, "last_ms": last}

    def resumes_to_one(self, count: int, threads: int) -> dict[str, float]:
        """Resumes per second, accepted by one run's hook; and until its body has taken all of them."""
        token = uuid.uuid4().hex
        run = w.inbox.start(token, count)
        _wait_for_hook(token)
        begin = time.perf_counter()
        _in_threads(lambda n: resume_hook(token, n), range(count), threads)
        accepted = time.perf_counter() - begin
        run.result(timeout=TIMEOUT)
        return {"accepted_per_second": count / accepted, "taken_per_second": count / (time.perf_counter() - begin)}

    def resumes_to_many(self, count: int, threads: int) -> dict[str, float]:
        since = datetime.now(UTC)
        tokens = [uuid.uuid4().hex for _ in range(count)]
        w.hooked.start_many([((token,), {}) for token in tokens])
        for token in tokens:
            _wait_for_hook(token)
        clock, begin = datetime.now(UTC), time.perf_counter()
        _in_threads(lambda token: resume_hook(token, 1), tokens, threads)
        accepted = time.perf_counter() - begin
        ended = (self._all_ended(since) - clock).total_seconds()
        return {"accepted_per_second": count / accepted, "taken_per_second": count / ended}

    # --- what the orchestrator measures itself -----------------------------------------------------------------------

    def start_laborious(self, ledger: str, steps: int, seconds: float) -> str:
        return w.laborious.start(ledger, steps, seconds).id

    def wait(self, run_id: str, timeout: float = TIMEOUT) -> float:
        """Wait for the run's end; the wall-clock time at which it was recorded."""
        RunHandle(run_id).result(timeout=timeout)
        return float(Run.objects.get(pk=run_id).completed_at.timestamp())

    def fan_out(self, steps: int) -> float:
        """Seconds."""
        begin = time.perf_counter()
        w.gathered.start(steps).result(timeout=TIMEOUT)
        return time.perf_counter() - begin

    fill = staticmethod(ours_at_scale.fill)
    queries = staticmethod(ours_at_scale.queries)
    cold_replay = staticmethod(ours_at_scale.cold_replay)

    # --- streams -----------------------------------------------------------------------------------------------------

    def first_chunk(self, count: int, warmup: int) -> list[float]:
        def once() -> None:
            run = w.one_stream.start(1, 100)
            next(iter(run.stream(timeout=TIMEOUT)))

        return times(once, count, warmup)

    def stream(self, shape: str, count: int, warmup: int, chunk_bytes: int) -> list[float]:
        """Milliseconds until everything has been read by this client; each stream has 1 MiB."""
        chunks = 1024 * 1024 // chunk_bytes

        def once() -> None:
            if shape == "pipeline":
                _drain(w.pipeline.start(5, chunks, chunk_bytes), "default")
            elif shape == "fan":
                _drain(w.fan_out_in.start(10, chunks, chunk_bytes), "default")
            else:
                run = w.parallel_streams.start(10, chunks, chunk_bytes)
                _in_threads(lambda n: _drain(run, f"part-{n}"), range(10), 10)

        return times(once, count, warmup)

    # --- waiting -----------------------------------------------------------------------------------------------------

    def _all_ended(self, since: datetime) -> datetime:
        rows = Run.objects.filter(created_at__gte=since - timedelta(milliseconds=5))
        wait_for(lambda: not rows.filter(completed_at__isnull=True).exists())
        ended = rows.aggregate(Max("completed_at"))["completed_at__max"]
        assert isinstance(ended, datetime)
        return ended


def _drain(run: RunHandle[int], name: str) -> int:
    return sum(1 for _ in run.stream(name, timeout=TIMEOUT))


def _wait_for_hook(token: str) -> None:
    def exists() -> bool:
        try:
            get_hook_by_token(token)
        except HookNotFoundError:
            return False
        return True

    wait_for(exists, pause=0.001)


def _in_threads(call: Callable[[Any], object], items: Iterable[Any], threads: int) -> None:
    with ThreadPoolExecutor(threads, initializer=connection.ensure_connection) as pool:
        list(pool.map(call, items))


if __name__ == "__main__":
    serve(Ours())
