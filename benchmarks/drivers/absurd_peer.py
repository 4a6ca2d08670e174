"""Absurd, set up as its documentation says: an async worker, polling every 5 ms, many tasks at a time on one connection.

Its own ``await_task_result`` polls every 50 ms and more slowly later; here the client polls every millisecond.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from absurd_sdk import Absurd, AsyncAbsurd

from benchmarks.drivers.protocol import serve, times, wait_for, worker_processes

URL = os.environ["DATABASE_URL"]
PAYLOAD = {"items": ["x" * 96 for _ in range(100)]}
CONCURRENCY = 32
POLL = 0.005  # seconds
LOOK = float(os.environ.get("BENCH_LOOK", "0.001"))  # seconds between two polls for the result
QUEUE = "default"
ENDED = """SELECT count(*) FILTER (WHERE completed_at IS NULL), max(completed_at) FROM absurd.r_default
WHERE created_at >= %s"""


# --- bodies ----------------------------------------------------------------------------------------------------------


def _step(number: int) -> Any:
    async def trivial() -> int:
        return number

    return trivial


async def _echo() -> Any:
    return PAYLOAD


async def _stamp() -> float:
    return time.monotonic()


async def sequence(params: Any, ctx: Any) -> int:
    for number in range(params["steps"]):
        await ctx.step("trivial", _step(number))
    return 1


async def gathered(params: Any, ctx: Any) -> int:
    return len(await asyncio.gather(*(ctx.step("trivial", _step(n)) for n in range(params["steps"]))))


async def raced(params: Any, ctx: Any) -> Any:
    tasks = [asyncio.ensure_future(ctx.step("trivial", _step(n))) for n in range(params["steps"])]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return next(iter(done)).result()


async def payload_sequence(params: Any, ctx: Any) -> int:
    for _ in range(params["steps"]):
        await ctx.step("echo", _echo)
    return 1


async def payload_gathered(params: Any, ctx: Any) -> int:
    return len(await asyncio.gather(*(ctx.step("echo", _echo) for _ in range(params["steps"]))))


async def stamps(params: Any, ctx: Any) -> list[float]:
    return [await ctx.step("stamp", _stamp) for _ in range(params["steps"])]


async def hooked(params: Any, ctx: Any) -> Any:
    return await ctx.await_event(params["token"])


async def sleeper(params: Any, ctx: Any) -> None:
    await ctx.sleep_until("sleep", params["until"])


async def laborious(params: Any, ctx: Any) -> int:
    for number in range(params["steps"]):
        await ctx.step("slow", _slow(params["ledger"], number, params["seconds"]))
    return 1


def _note(ledger: str, number: int) -> None:
    with Path(ledger).open("ab", buffering=0) as file:
        file.write(f"{number} {os.getpid()}\n".encode())


def _slow(ledger: str, number: int, seconds: float) -> Any:
    async def slow() -> int:
        _note(ledger, number)
        await asyncio.sleep(seconds)
        return number

    return slow


TASKS = (sequence, gathered, raced, payload_sequence, payload_gathered, stamps, hooked, sleeper, laborious)


# --- worker and client -----------------------------------------------------------------------------------------------


async def work() -> None:
    app = AsyncAbsurd(URL, queue_name=QUEUE)
    for task in TASKS:
        app.register_task(name=task.__name__)(task)
    await app.start_worker(concurrency=CONCURRENCY, poll_interval=POLL)


class Client:
    def __init__(self) -> None:
        self._app = Absurd(URL, queue_name=QUEUE)
        self._connection = psycopg.connect(URL, autocommit=True)

    def _start(self, name: str, **params: Any) -> str:
        return str(self._app.spawn(name, params, queue=QUEUE)["task_id"])

    def _state(self, task_id: str) -> str:
        found = self._app.fetch_task_result(task_id, QUEUE)
        assert found is not None
        if found.state == "failed":
            raise RuntimeError(str(found.failure))
        return found.state

    def _result(self, task_id: str) -> Any:
        wait_for(lambda: self._state(task_id) == "completed", pause=LOOK)
        found = self._app.fetch_task_result(task_id, QUEUE)
        assert found is not None
        return found.result

    def latency(self, shape: str, steps: int, count: int, warmup: int) -> list[float]:
        return times(lambda: self._result(self._start(shape, steps=steps)), count, warmup)

    def throughput(self, runs: int, steps: int, bulk: bool = False) -> dict[str, float]:
        since, begin = datetime.now(UTC), time.perf_counter()
        for _ in range(runs):
            self._start("sequence", steps=steps)
        started = time.perf_counter() - begin
        return {"per_second": runs / (self._all_ended(since) - since).total_seconds(), "starting_s": started}

    def hooks(self, count: int, warmup: int) -> list[float]:
        return [self._resume_one() for _ in range(warmup + count)][warmup:]

    def _resume_one(self) -> float:
        token = uuid.uuid4().hex
        task = self._start("hooked", token=token)
        wait_for(lambda: self._state(task) == "sleeping", pause=0.001)
        begin = time.perf_counter()
        self._app.emit_event(token, {"answer": 42}, QUEUE)
        self._result(task)
        return (time.perf_counter() - begin) * 1000

    def sleeping(self, runs: int, lead_s: float) -> float:
        since = datetime.now(UTC)
        until = since + timedelta(seconds=lead_s)
        for _ in range(runs):
            self._start("sleeper", until=until.timestamp())
        return (self._all_ended(since) - until).total_seconds()

    def long(self, steps: int) -> dict[str, float]:
        begin = time.perf_counter()
        taken = self._result(self._start("stamps", steps=steps))
        total = time.perf_counter() - begin
        first, last = (taken[100] - taken[0]) * 10, (taken[-1] - taken[-101]) * 10
        return {"total_s": total, "first_ms": first, "last_ms": last}

    def start_laborious(self, ledger: str, steps: int, seconds: float) -> str:
        return self._start("laborious", ledger=ledger, steps=steps, seconds=seconds)

    def wait(self, run_id: str, timeout: float = 300) -> float:
        wait_for(lambda: self._state(run_id) == "completed", timeout)
        row = self._connection.execute("SELECT max(completed_at) FROM absurd.r_default WHERE task_id = %s", [run_id])
        return float(row.fetchone()[0].timestamp())  # type: ignore[index]

    def _all_ended(self, since: datetime) -> datetime:
        def rows() -> Any:
            return self._connection.execute(ENDED, [since - timedelta(milliseconds=5)]).fetchone()

        wait_for(lambda: rows()[0] == 0)
        ended = rows()[1]
        assert isinstance(ended, datetime)
        return ended


def migrate() -> None:
    from absurdctl import BUNDLED_SCHEMA_SQL

    with psycopg.connect(URL, autocommit=True) as connection:
        connection.execute(BUNDLED_SCHEMA_SQL)
    Absurd(URL).create_queue(QUEUE)


if __name__ == "__main__":
    if sys.argv[1] == "migrate":
        migrate()
    elif sys.argv[1] == "worker":
        worker_processes(sys.argv[2:], lambda number: asyncio.run(work()))
    else:
        serve(Client())
