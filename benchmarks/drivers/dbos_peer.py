"""DBOS in its two documented settings: started inside the worker process, and through a queue.

``client --inside``: the process that starts a workflow also executes it, and its handle gets the result at once.
Otherwise a worker polls a queue every 10 ms, and the client asks for the result every millisecond.
Sequences are ``def`` workflows and steps, which DBOS runs faster; concurrent work is async.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from dbos import DBOS, DBOSClient, DBOSConfig

from benchmarks.drivers.protocol import serve, times, wait_for, worker_processes

URL = os.environ["DATABASE_URL"]
PAYLOAD = {"items": ["x" * 96 for _ in range(100)]}
QUEUE = "bench"
POLL = 0.01  # seconds
LOOK = float(os.environ.get("BENCH_LOOK", "0.001"))  # seconds between two polls for the result
VERSION = "bench"
ENDED = """SELECT count(*) FILTER (WHERE status <> 'SUCCESS'), max(updated_at) FROM dbos.workflow_status
WHERE created_at >= %s"""


# --- bodies ----------------------------------------------------------------------------------------------------------


@DBOS.step()
def trivial(number: int) -> int:
    return number


@DBOS.step()
async def trivial_async(number: int) -> int:
    return number


@DBOS.step()
def echo(payload: Any) -> Any:
    return payload


@DBOS.step()
async def echo_async(payload: Any) -> Any:
    return payload


@DBOS.step()
def stamp() -> float:
    return time.monotonic()


@DBOS.step()
def slow(ledger: str, number: int, seconds: float) -> int:
    with Path(ledger).open("ab", buffering=0) as file:
        file.write(f"{number} {os.getpid()}\n".encode())
    time.sleep(seconds)
    return number


@DBOS.workflow()
def sequence(steps: int) -> int:
    for number in range(steps):
        trivial(number)
    return 1


@DBOS.workflow()
async def gathered(steps: int) -> int:
    return len(await asyncio.gather(*(trivial_async(number) for number in range(steps))))


@DBOS.workflow()
async def raced(steps: int) -> int:
    done, _ = await DBOS.asyncio_wait(
        [trivial_async(number) for number in range(steps)], return_when=asyncio.FIRST_COMPLETED
    )
    return int(min(task.result() for task in done))


@DBOS.workflow()
def payload_sequence(steps: int) -> int:
    for _ in range(steps):
        echo(PAYLOAD)
    return 1


@DBOS.workflow()
async def payload_gathered(steps: int) -> int:
    return len(await asyncio.gather(*(echo_async(PAYLOAD) for _ in range(steps))))


@DBOS.workflow()
def stamps(steps: int) -> list[float]:
    return [stamp() for _ in range(steps)]


@DBOS.workflow()
def hooked() -> Any:
    return DBOS.recv(timeout_seconds=60)


@DBOS.workflow()
async def sleeper(until: float) -> None:
    await DBOS.sleep_async(until - time.time())


@DBOS.workflow()
def laborious(ledger: str, steps: int, seconds: float) -> int:
    for number in range(steps):
        slow(ledger, number, seconds)
    return 1


# --- worker and client -----------------------------------------------------------------------------------------------


def _launch() -> None:
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": URL,
        "application_version": VERSION,
        "log_level": "ERROR",
        "executor_id": os.environ.get("DBOS__VMID", "local"),
    }
    DBOS(config=config)
    DBOS.launch()


def work(number: int) -> None:
    os.environ["DBOS__VMID"] = f"{os.environ['BENCH_WORKER']}-{number}"  # it resumes what it had under this name
    _launch()
    DBOS.register_queue(QUEUE, polling_interval_sec=POLL)
    threading.Event().wait()


class Client:
    def __init__(self, *, inside: bool) -> None:
        self._inside = inside
        self._connection = psycopg.connect(URL, autocommit=True)
        if inside:
            _launch()
        else:
            self._client = DBOSClient(system_database_url=URL)

    def _start(self, workflow: Any, *args: Any) -> Any:
        if self._inside:
            return DBOS.start_workflow(workflow, *args)
        return self._client.enqueue({"queue_name": QUEUE, "workflow_name": workflow.__qualname__}, *args)

    def _result(self, handle: Any) -> Any:
        return handle.get_result() if self._inside else handle.get_result(polling_interval_sec=LOOK)

    def latency(self, shape: str, steps: int, count: int, warmup: int) -> list[float]:
        workflow = globals()[shape]
        return times(lambda: self._result(self._start(workflow, steps)), count, warmup)

    def throughput(self, runs: int, steps: int, bulk: bool = False) -> dict[str, float]:
        since, begin = datetime.now(UTC), time.perf_counter()
        handles = [self._start(sequence, steps) for _ in range(runs)]
        started = time.perf_counter() - begin
        return {"per_second": runs / (self._all_ended(since, handles) - since.timestamp()), "starting_s": started}

    def hooks(self, count: int, warmup: int) -> list[float]:
        return [self._resume_one() for _ in range(warmup + count)][warmup:]

    def _resume_one(self) -> float:
        handle = self._start(hooked)
        wait_for(lambda: handle.get_status().status == "PENDING", pause=0.005)
        time.sleep(0.02)  # it is in recv() by now; nothing in the database says so
        begin = time.perf_counter()
        send = DBOS.send if self._inside else self._client.send
        send(handle.get_workflow_id(), {"answer": 42}, idempotency_key=uuid.uuid4().hex)
        self._result(handle)
        return (time.perf_counter() - begin) * 1000

    def sleeping(self, runs: int, lead_s: float) -> float:
        since = datetime.now(UTC)
        until = (since + timedelta(seconds=lead_s)).timestamp()
        handles = [self._start(sleeper, until) for _ in range(runs)]
        return self._all_ended(since, handles) - until

    def long(self, steps: int) -> dict[str, float]:
        begin = time.perf_counter()
        taken = self._result(self._start(stamps, steps))
        total = time.perf_counter() - begin
        first, last = (taken[100] - taken[0]) * 10, (taken[-1] - taken[-101]) * 10
        return {"total_s": total, "first_ms": first, "last_ms": last}

    def start_laborious(self, ledger: str, steps: int, seconds: float) -> str:
        return str(self._start(laborious, ledger, steps, seconds).get_workflow_id())

    def wait(self, run_id: str, timeout: float = 300) -> float:
        query = "SELECT updated_at FROM dbos.workflow_status WHERE workflow_uuid = %s AND status = 'SUCCESS'"
        wait_for(lambda: self._connection.execute(query, [run_id]).fetchone() is not None, timeout)
        return float(self._connection.execute(query, [run_id]).fetchone()[0] / 1000)  # type: ignore[index]

    def _all_ended(self, since: datetime, handles: list[Any]) -> float:
        if self._inside:
            for handle in handles:
                handle.get_result()
            return time.time()

        def rows() -> Any:
            return self._connection.execute(ENDED, [int(since.timestamp() * 1000) - 5]).fetchone()

        wait_for(lambda: rows()[0] == 0)
        return float(rows()[1] / 1000)


if __name__ == "__main__":
    if sys.argv[1] == "migrate":
        _launch()
        DBOS.register_queue(QUEUE, polling_interval_sec=POLL)
        DBOS.destroy()
        os._exit(0)
    elif sys.argv[1] == "worker":
        worker_processes(sys.argv[2:], work)
    else:
        serve(Client(inside="--inside" in sys.argv))
