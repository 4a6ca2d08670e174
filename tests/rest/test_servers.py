"""The doors behind real servers: under WSGI and ASGI, with callers that wait and readers that follow."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from django.db import connection

from django_workflows import api
from django_workflows.models import Hook, WebhookCall
from django_workflows.workers.process import WorkerProcess

from . import flows
from .servers import serve

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
TIMEOUT = 120
JSON = "application/json"
Wait = Callable[[Callable[[], Any]], Any]


def call(url: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return response.status, response.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


def resume(root: str, token: str, payload: Any) -> int:
    body = json.dumps({"payload": payload}).encode()
    return call(f"{root}api/hooks/{token}/resume/", body, **{"Content-Type": "application/json"})[0]


def sessions_of(name: str = "") -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir())) if Path(f"/proc/{pid}/task").exists() else 0


class TestHeldCallers:
    def test_asgi_a_hundred_wait_while_a_hundred_resumes_go_through(self, worker: WorkerProcess, until: Wait) -> None:
        oracles = flows.oracle_on_demand.start_many([((f"t{i}",), {}) for i in range(100)])
        boxes = flows.mailbox.start_many([((f"m{i}", 1), {}) for i in range(100)])
        until(lambda: Hook.objects.active().count() == 300)
        before = sessions_of()
        with serve("uvicorn") as (root, process), ThreadPoolExecutor(100) as callers, ThreadPoolExecutor(10) as others:
            held = [callers.submit(call, f"{root}webhooks/t{i}/", b"?") for i in range(100)]
            until(lambda: WebhookCall.objects.count() == 100)
            until(lambda: sessions_of() <= before + 3)
            while_held, threads = sessions_of(), threads_of(process.pid)
            assert set(others.map(lambda i: resume(root, f"m{i}", i), range(100))) == {202}
            assert [box.result(timeout=TIMEOUT) for box in boxes] == [[i] for i in range(100)]
            assert not any(answer.done() for answer in held)
            for i in range(100):
                assert resume(root, f"t{i}-go", f"answer {i}") == 202
            assert [answer.result(TIMEOUT) for answer in held] == [(200, f"answer {i}".encode()) for i in range(100)]
        for oracle in oracles:
            oracle.result(timeout=TIMEOUT)
        print(f"\nASGI: {while_held - before} more database sessions and {threads} threads with 100 callers held")  # noqa: T201

    def test_wsgi_with_ten_threads_callers_never_take_them_all(self, worker: WorkerProcess, until: Wait) -> None:
        oracles = flows.oracle_on_demand.start_many([((f"t{i}",), {}) for i in range(100)])
        boxes = flows.mailbox.start_many([((f"m{i}", 1), {}) for i in range(100)])
        until(lambda: Hook.objects.active().count() == 300)
        seen: Counter[int] = Counter()
        started = threading.Event()

        def call_until_answered(i: int) -> bytes:
            pause = threading.Event()
            while True:
                status, body = call(f"{root}webhooks/t{i}/", b"?")
                seen[status] += 1
                if status != 503:
                    assert status == 200
                    return body
                started.set()
                pause.wait(1)  # as Retry-After says

        settings = {"TEST_WORKFLOWS": json.dumps({"WEBHOOK_MAX_HELD": 5})}
        with (
            serve("gunicorn", **settings) as (root, _),
            ThreadPoolExecutor(100) as callers,
            ThreadPoolExecutor(10) as others,
        ):
            held = [callers.submit(call_until_answered, i) for i in range(100)]
            started.wait(TIMEOUT)  # five are held, the others try again and again
            assert WebhookCall.objects.filter(answered_at__isnull=True).count() == 5
            assert set(others.map(lambda i: resume(root, f"m{i}", i), range(100))) == {202}
            assert [box.result(timeout=TIMEOUT) for box in boxes] == [[i] for i in range(100)]
            assert set(others.map(lambda i: resume(root, f"t{i}-go", f"answer {i}"), range(100))) == {202}
            assert [answer.result(TIMEOUT) for answer in held] == [f"answer {i}".encode() for i in range(100)]
        for oracle in oracles:
            oracle.result(timeout=TIMEOUT)
        assert WebhookCall.objects.count() == 100  # a caller that was refused has delivered nothing
        print(f"\nWSGI, 10 threads, at most 5 held: answers {dict(seen)}")  # noqa: T201


class TestStreams:
    @pytest.mark.parametrize("kind", ["uvicorn", "gunicorn"])
    def test_chunks_come_as_they_are_written(self, worker: WorkerProcess, kind: str, until: Wait) -> None:
        run = flows.ticker.start("tick")
        until(lambda: Hook.objects.active().exists())
        with serve(kind) as (root, _):
            url = f"{root}api/runs/{run.id}/streams/default/"
            with urllib.request.urlopen(urllib.request.Request(url), timeout=TIMEOUT) as body:
                assert body.headers["Content-Type"] == "text/event-stream"
                assert body.readline() == b"retry: 1000\n"
                assert body.readline() == b"\n"
                for index in range(5):
                    api.resume_hook("tick", f"value {index}")
                    assert body.readline() == f"id: {index}\n".encode()
                    assert body.readline() == f'data: "value {index}"\n'.encode()
                    assert body.readline() == b"\n"
                api.resume_hook("tick", "stop")
                assert body.read() == b"event: end\ndata: {}\n\n"

    @pytest.mark.parametrize("kind", ["uvicorn", "gunicorn"])
    def test_what_streams_carry(self, worker: WorkerProcess, kind: str) -> None:
        """Measures throughput and checks that nothing is lost: 1 MiB in chunks of 64 KiB, alone and eight side by side."""
        chunks = ["x" * 65_536] * 16

        def follow(_: int = 0) -> tuple[float, float]:
            body = json.dumps({"args": [chunks]}).encode()
            began = time.perf_counter()
            status, answer = call(f"{root}api/workflows/{flows.writer.name}/runs/", body, **{"Content-Type": JSON})
            assert status == 201
            with urllib.request.urlopen(f"{root}api/runs/{json.loads(answer)['id']}/streams/default/") as stream:
                while not stream.readline().startswith(b"id: 0"):
                    pass
                first = time.perf_counter() - began
                rest = stream.read()
            assert rest.count(b"x" * 65_536) == 16
            return first, time.perf_counter() - began

        with serve(kind) as (root, _), ThreadPoolExecutor(8) as readers:
            follow()
            alone = sorted(follow() for _ in range(5))[2]
            began = time.perf_counter()
            list(readers.map(follow, range(8)))
            together = time.perf_counter() - began
        print(  # noqa: T201
            f"\n{kind}: first chunk {alone[0] * 1000:.0f} ms after the POST began, 1 MiB in {alone[1] * 1000:.0f} ms "
            f"({1 / alone[1]:.1f} MiB/s); 8 streams side by side {8 / together:.1f} MiB/s"
        )

    def test_a_thousand_idle_readers_under_asgi(self, worker: WorkerProcess, until: Wait) -> None:
        import asyncio

        run = flows.ticker.start("tick")
        until(lambda: Hook.objects.active().exists())
        before = sessions_of()

        async def read(port: int) -> bytes:
            path = f"/workflows/api/runs/{run.id}/streams/default/"
            async with gate:  # until it streams, a request needs a connection as in any Django project
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                found = await reader.readuntil(b"retry: 1000")
            connected.release()
            found += await reader.read()
            writer.close()
            await writer.wait_closed()
            return found

        gate = asyncio.Semaphore(20)

        async def read_all(port: int) -> list[bytes]:
            return await asyncio.gather(*(read(port) for _ in range(1000)))

        connected = threading.Semaphore(0)
        with serve("uvicorn") as (root, process), ThreadPoolExecutor(1) as readers:
            port = int(root.split(":")[2].partition("/")[0])
            answers = readers.submit(asyncio.run, read_all(port))
            for _ in range(1000):
                assert connected.acquire(timeout=TIMEOUT)
            until(lambda: sessions_of() <= before + 3)
            sessions, threads = sessions_of() - before, threads_of(process.pid)
            memory = Path(f"/proc/{process.pid}/status").read_text().partition("VmRSS:")[2].split()[0]
            api.resume_hook("tick", "now")
            api.resume_hook("tick", "stop")
            assert all(b'data: "now"' in answer and b"event: end" in answer for answer in answers.result(TIMEOUT))
        print(f"\n1,000 idle readers: {sessions} more database sessions, {threads} threads, {int(memory) // 1024} MB")  # noqa: T201
