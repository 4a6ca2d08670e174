"""Streams: written by steps, read by handles and over HTTP."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from rest_framework.test import APIClient

from django_workflows import (
    InAtomicBlockError,
    RunHandle,
    RunNotFoundError,
    WorkflowSandboxError,
    get_writable,
    workflow,
)
from django_workflows.api import resume_hook
from django_workflows.exceptions import EntityConflictError, StreamClosedError
from django_workflows.models import Event, Run, Step, Stream, StreamChunk
from django_workflows.notify.watcher import process_watcher
from django_workflows.serialization import dumps
from django_workflows.services import steps
from django_workflows.streams import writing
from django_workflows.streams.pages import MAX_CHUNKS, StreamPages
from django_workflows.streams.reading import read_page
from django_workflows.workers.process import WorkerProcess

from . import flows

pytestmark = pytest.mark.django_db(transaction=True)
TIMEOUT = 30
Wait = Callable[[Callable[[], Any]], Any]


def read(run: RunHandle[Any], name: str = "default", start_index: int = 0) -> list[Any]:
    return list(run.stream(name, start_index, timeout=TIMEOUT))


VALUES = [1, "ünïcödé \U0001f600", b"\x00\xff", {"deep": [None, 1.5, {"a": "b"}]}, "\ud800", "x" * 1_000_000, ""]


class TestWriting:
    @pytest.mark.parametrize("how", ["sync", "async", "atomic"])
    def test_what_a_step_writes_is_read_in_order(self, worker: WorkerProcess, how: str) -> None:
        run = flows.writer.start(VALUES, how=how)
        assert read(run) == VALUES
        run.result(timeout=TIMEOUT)

    def test_all_chunks_are_there_before_the_step_ends(self, worker: WorkerProcess) -> None:
        run = flows.writer.start(list(range(500)))
        run.result(timeout=TIMEOUT)
        completed = Event.objects.get(run_id=run.id, type="step_completed").created_at
        chunks = StreamChunk.objects.filter(run_id=run.id).order_by("index")
        assert [(chunk.index, chunk.data) for chunk in chunks] == [(i, i) for i in range(500)]
        assert max(chunk.created_at for chunk in chunks) <= completed

    def test_a_fast_writer_s_chunks_share_transactions(self, worker: WorkerProcess) -> None:
        run = flows.writer.start(list(range(2000)))
        run.result(timeout=TIMEOUT)
        times = {chunk.created_at for chunk in StreamChunk.objects.filter(run_id=run.id)}
        assert len(times) < 200

    def test_concurrent_writers_number_the_chunks_densely(self, worker: WorkerProcess) -> None:
        run = flows.choir.start(8, 50)
        values = read(run)
        assert len(values) == 400
        for voice in range(8):  # each one's own order is kept
            assert [i for v, i in values if v == voice] == list(range(50))
        assert Stream.objects.get(run_id=run.id).next_index == 400

    def test_a_retried_attempt_appends_again(self, worker: WorkerProcess) -> None:
        run = flows.writer.start([], how="retry")
        assert read(run) == ["attempt 1", "attempt 2"]

    def test_nothing_is_written_after_the_close(self, worker: WorkerProcess) -> None:
        run = flows.late_writer.start()
        assert run.result(timeout=TIMEOUT) == "StreamClosedError"
        assert read(run) == ["a"]

    def test_a_late_attempt_is_refused(self, worker: WorkerProcess) -> None:
        run = flows.writer.start(["a"])
        run.result(timeout=TIMEOUT)
        step = Step.objects.get(run_id=run.id)
        with pytest.raises(EntityConflictError), transaction.atomic():
            steps.lock_lease(step.pk, step.worker_id or "", step.attempt)

    def test_an_attempt_that_has_timed_out_writes_nothing_more(self, worker: WorkerProcess, until: Wait) -> None:
        flows.TOO_LATE.clear()
        flows.REFUSALS.clear()
        run = flows.overdue.start()
        assert run.result(timeout=TIMEOUT) == "timed out"
        flows.TOO_LATE.set()
        assert until(lambda: flows.REFUSALS) == ["EntityConflictError"]
        assert read(run) == ["in time"]

    @pytest.mark.parametrize("how", ["sync", "async"])
    def test_an_outage_while_chunks_are_saved_is_no_fault_of_the_step(
        self, worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        append, failures = writing.append_chunks, [OperationalError("the server is away")] * 3

        def fail_at_first(*args: Any) -> int:
            if failures:
                raise failures.pop()
            return append(*args)

        monkeypatch.setattr(writing, "append_chunks", fail_at_first)
        run = flows.writer.start(["a", "b"], how=how)
        assert read(run) == ["a", "b"]
        step = Step.objects.get(run_id=run.id)
        assert (step.attempt, step.failures) == (1, 0)

    def test_a_step_waits_for_its_chunks_as_long_as_the_database_is_away(
        self, worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch, until: Wait
    ) -> None:
        append, away, refused = writing.append_chunks, threading.Event(), list[int]()
        away.set()

        def fail_while_away(*args: Any) -> int:
            if away.is_set():
                refused.append(1)
                raise OperationalError("the server is away")
            return append(*args)

        monkeypatch.setattr(writing, "append_chunks", fail_while_away)
        run = flows.writer.start(["a"])
        until(lambda: len(refused) >= 4)
        away.clear()
        assert read(run) == ["a"]
        step = Step.objects.get(run_id=run.id)
        assert (step.attempt, step.failures, step.losses) == (1, 0, 0)

    def test_nothing_is_written_after_the_end_of_the_run(self, worker: WorkerProcess) -> None:
        run = flows.writer.start(["a"])
        run.result(timeout=TIMEOUT)
        with pytest.raises(StreamClosedError), transaction.atomic():
            writing.append_chunks(run.id, "default", [dumps("late")])
        assert read(run) == ["a"]

    def test_a_body_only_passes_a_stream_on(self, worker: WorkerProcess) -> None:
        @workflow(name="tests.writes_in_the_body")
        async def writes() -> str:
            try:
                get_writable().write("x")
            except WorkflowSandboxError:
                return "refused"
            return "written"

        worker.stop()  # it does not have this workflow registered; a new one does
        fresh = WorkerProcess(burst=True)
        run = writes.start()
        fresh.run()
        assert run.result(timeout=TIMEOUT) == "refused"


class TestReading:
    def test_a_reader_that_comes_first_waits_and_sees_chunks_as_they_are_written(
        self, worker: WorkerProcess, hook_exists: Callable[[str], Any]
    ) -> None:
        run = flows.ticker.start("tick")
        hook_exists("tick")
        values = run.stream(timeout=TIMEOUT)
        for value in ["one", "two", "three"]:
            resume_hook("tick", value)
            assert next(values) == value  # the next payload is not even sent yet
        resume_hook("tick", "stop")
        assert list(values) == []

    def test_from_an_index_and_from_the_tail(self, worker: WorkerProcess) -> None:
        run = flows.writer.start(list(range(10)))
        run.result(timeout=TIMEOUT)
        assert read(run, start_index=7) == [7, 8, 9]
        assert read(run, start_index=-3) == [7, 8, 9]
        assert read(run, start_index=-99) == list(range(10))
        assert read(run, start_index=10) == read(run, start_index=5000) == []

    def test_more_than_a_page(self, worker: WorkerProcess) -> None:
        count = MAX_CHUNKS * 2 + 7
        run = flows.writer.start(list(range(count)))
        assert read(run) == list(range(count))

    def test_a_closed_stream_ends_while_the_run_continues(self, worker: WorkerProcess) -> None:
        run = flows.writer.start(["a"], close=True)
        assert read(run) == ["a"]

    def test_an_unknown_stream_ends_with_the_run(self, worker: WorkerProcess) -> None:
        run = flows.writer.start(["a"])
        assert read(run, "other") == []

    def test_nothing_for_the_timeout(self, waiting: None) -> None:
        run = flows.writer.start(["nobody", "works"])
        with pytest.raises(TimeoutError):
            next(run.stream(timeout=0.05))

    def test_an_unknown_run(self, waiting: None) -> None:
        with pytest.raises(RunNotFoundError):
            next(RunHandle("wrun_00000000000000000000000000").stream())

    def test_inside_atomic_it_reads_what_is_there_and_refuses_to_wait(self, waiting: None) -> None:
        with transaction.atomic():
            run = flows.writer.start([])
            writing.append_chunks(run.id, "default", [dumps("mine")])
            values = run.stream()
            assert next(values) == "mine"
            with pytest.raises(InAtomicBlockError):
                next(values)

    def test_async_readers(self, worker: WorkerProcess) -> None:
        run = flows.writer.start(list(range(300)))

        async def collect() -> list[Any]:
            return [value async for value in run.astream(timeout=TIMEOUT)]

        async def several() -> list[list[Any]]:
            return await asyncio.gather(*(collect() for _ in range(20)))

        assert asyncio.run(several()) == [list(range(300))] * 20

    def test_a_look_that_fails_is_tried_again(self, worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
        poll, failures = StreamPages.poll, [OperationalError("the server is away")] * 2

        def fail_at_first(self: StreamPages, questions: Any) -> Any:
            if failures:
                raise failures.pop()
            return poll(self, questions)

        monkeypatch.setattr(StreamPages, "poll", fail_at_first)
        assert read(flows.writer.start(["a"])) == ["a"]
        assert not failures

    def test_without_a_single_notification(self, settings: Any, worker: WorkerProcess) -> None:
        settings.DJANGO_WORKFLOWS = {"LISTEN": False, "POLL_INTERVAL": 0.05}
        run = flows.writer.start(["a", "b"])
        assert read(run) == ["a", "b"]


@pytest.mark.skipif("sqlite" in str(connection.settings_dict["ENGINE"]), reason="counts PostgreSQL's sessions")
class TestIdleReaders:
    def test_a_thousand_of_them_share_one_connection(self, waiting: None, until: Wait) -> None:
        runs = flows.sleeper.start_many([((), {})] * 50)

        async def read_for_ever(run: RunHandle[Any]) -> None:
            async for _ in run.astream():
                raise AssertionError("nobody writes")

        async def count() -> int:
            tasks = [asyncio.create_task(read_for_ever(run)) for run in runs for _ in range(20)]
            while len(process_watcher()._subscriptions) < len(tasks):  # noqa: ASYNC110 - nothing tells a test that they all wait
                await asyncio.sleep(0.01)
            sessions = await asyncio.to_thread(self.sessions)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert len(tasks) == 1000
            return sessions

        before = self.sessions()
        assert asyncio.run(count()) <= before + 3  # the watcher's, the listener's, and the one that asks
        assert not process_watcher()._subscriptions

    @staticmethod
    def sessions() -> int:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
                return int(cursor.fetchone()[0])
        finally:
            connection.close()


# --- over HTTP -------------------------------------------------------------------------------------------------------


def url(run: RunHandle[Any] | Run, name: str = "default", query: str = "") -> str:
    run_id = run.id if isinstance(run, RunHandle) else run.pk
    return f"/workflows/api/runs/{run_id}/streams/{name}/{query}"


def events(body: bytes) -> list[dict[str, str]]:
    found = []
    for block in body.decode("ascii").strip().split("\n\n"):
        lines = (line.partition(": ") for line in block.split("\n"))
        found.append({field: value for field, _, value in lines if field})
    return found


class TestServerSentEvents:
    def test_ids_values_and_the_end(self, worker: WorkerProcess, staff: APIClient) -> None:
        run = flows.writer.start(["a\nb", {"x": b"\xff", "lone": "\ud800"}])
        response = staff.get(url(run))
        assert response.status_code == 200
        assert response["Content-Type"] == "text/event-stream"
        assert response["Cache-Control"] == "no-cache"
        assert events(response.getvalue()) == [
            {"retry": "1000"},
            {"id": "0", "data": json.dumps("a\nb")},
            {"id": "1", "data": '{"x":"/w==","lone":"\\ufffd"}'},
            {"event": "end", "data": "{}"},
        ]

    def test_last_event_id_resumes_after_it(self, worker: WorkerProcess, staff: APIClient) -> None:
        run = flows.writer.start(list(range(5)))
        run.result(timeout=TIMEOUT)
        body = staff.get(url(run, query="?start_index=0"), headers={"Last-Event-ID": "2"}).getvalue()
        assert [event["id"] for event in events(body) if "id" in event] == ["3", "4"]
        assert staff.get(url(run), headers={"Last-Event-ID": "4"}).status_code == 204

    def test_negative_start_index(self, worker: WorkerProcess, staff: APIClient) -> None:
        run = flows.writer.start(list(range(5)))
        run.result(timeout=TIMEOUT)
        body = staff.get(url(run, query="?start_index=-2")).getvalue()
        assert [event["id"] for event in events(body) if "id" in event] == ["3", "4"]

    def test_chunks_arrive_while_the_run_continues(
        self, worker: WorkerProcess, staff: APIClient, hook_exists: Callable[[str], Any]
    ) -> None:
        run = flows.ticker.start("tick")
        hook_exists("tick")
        body = iter(staff.get(url(run)).streaming_content)
        assert events(next(body)) == [{"retry": "1000"}]
        for index, value in enumerate(["one", "two"]):
            resume_hook("tick", value)
            assert events(next(body)) == [{"id": str(index), "data": json.dumps(value)}]
        resume_hook("tick", "stop")
        assert events(next(body)) == [{"event": "end", "data": "{}"}]

    def test_an_idle_stream_shows_that_it_lives(
        self, waiting: None, staff: APIClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_workflows.rest.streams.KEEP_ALIVE", 0.01)
        body = iter(staff.get(url(flows.sleeper.start())).streaming_content)
        next(body)
        assert next(body).startswith(b":")

    def test_any_name_that_a_stream_may_have(self, worker: WorkerProcess, staff: APIClient) -> None:
        run = flows.writer.start(["a"], name="logs/läufe 1")
        assert b"id: 0" in staff.get(url(run, "logs/l%C3%A4ufe%201")).getvalue()


class TestJsonPage:
    def test_a_page(self, worker: WorkerProcess, staff: APIClient) -> None:
        run = flows.writer.start(["a", "b"])
        run.result(timeout=TIMEOUT)
        page = staff.get(url(run, query="?start_index=1"), headers={"Accept": "application/json"}).json()
        assert page == {"results": [{"index": 1, "value": "b"}], "next_index": 2, "done": True}

    def test_it_does_not_wait(self, waiting: None, staff: APIClient) -> None:
        page = staff.get(url(flows.sleeper.start()), headers={"Accept": "application/json"}).json()
        assert page == {"results": [], "next_index": 0, "done": False}

    @pytest.mark.parametrize("start", ["x", "1.5", "99999999999999999999", "-99999999999999", "", "٣", "0x1", "%00"])
    def test_an_index_that_cannot_be_read(self, waiting: None, staff: APIClient, start: str) -> None:
        response = staff.get(url(flows.sleeper.start(), query=f"?start_index={start}"))
        assert response.status_code == 400
        assert response.json()["code"] == "invalid"

    def test_errors_are_json_whatever_is_accepted(self, staff: APIClient) -> None:
        response = staff.get("/workflows/api/runs/wrun_x/streams/default/", headers={"Accept": "text/event-stream"})
        assert (response.status_code, response.json()["code"]) == (404, "run_not_found")
        assert response["Content-Type"] == "application/json"


@pytest.mark.skipif("sqlite" in str(connection.settings_dict["ENGINE"]), reason="SQLite has one writer at a time")
def test_the_last_look_waits_for_a_writer_that_was_there_before_the_end(waiting: None) -> None:
    """The run's end may be seen while a chunk is about to be committed: it belongs to the stream."""
    run = flows.sleeper.start()
    Stream.objects.create(run_id=run.id, name="default", created_at=Run.objects.get(pk=run.id).created_at)
    written, go = threading.Event(), threading.Event()

    def write() -> None:
        try:
            with transaction.atomic():
                writing.append_chunks(run.id, "default", [dumps("last")])
                written.set()
                go.wait(TIMEOUT)
        finally:
            connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    written.wait(TIMEOUT)
    run.cancel(force=True)
    pages: list[Any] = []

    def look() -> None:
        try:
            pages.append(read_page(run.id, "default"))
        finally:
            connection.close()

    reader = threading.Thread(target=look)
    reader.start()
    _wait_until_someone_waits_for_a_lock()
    assert not pages
    go.set()
    reader.join(TIMEOUT)
    writer.join(TIMEOUT)
    (page,) = pages
    assert [index for index, _ in page.chunks] == [0]
    assert page.done


def _wait_until_someone_waits_for_a_lock() -> None:
    pause = threading.Event()
    while True:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            if cursor.fetchone()[0]:
                return
        pause.wait(0.01)
