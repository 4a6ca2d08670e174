"""What a body must not touch, and that the rest of the process is unaffected."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from django_workflows.authoring import runtime
from django_workflows.authoring.primitives import (
    create_hook,
    get_step_metadata,
    get_writable,
    now,
    race,
    random,
    set_attributes,
    sleep,
    uuid4,
)
from django_workflows.authoring.workflows import workflow
from django_workflows.engine import sandbox
from django_workflows.exceptions import WorkflowSandboxError

from .steps import a, charge
from .support import Run

TOUCHES: dict[str, Callable[[], Any]] = {
    "to_thread": lambda: asyncio.to_thread(print),
    "run_in_executor": lambda: asyncio.get_running_loop().run_in_executor(None, print),
    "open_connection": lambda: asyncio.open_connection("localhost", 1),
    "start_server": lambda: asyncio.start_server(print, "localhost", 1),  # type: ignore[arg-type]
    "subprocess": lambda: asyncio.create_subprocess_exec("true"),
    "shell": lambda: asyncio.create_subprocess_shell("true"),
    "getaddrinfo": lambda: asyncio.get_running_loop().getaddrinfo("localhost", 1),
    "sock_connect": lambda: asyncio.get_running_loop().sock_connect(socket.socket(), ("localhost", 1)),
    "add_reader": lambda: asyncio.get_running_loop().add_reader(0, print),
    "add_signal_handler": lambda: asyncio.get_running_loop().add_signal_handler(10, print),
    "call_soon_threadsafe": lambda: asyncio.get_running_loop().call_soon_threadsafe(print),
    "stop": lambda: asyncio.get_running_loop().stop(),
    "close": lambda: asyncio.get_running_loop().close(),
    "set_task_factory": lambda: asyncio.get_running_loop().set_task_factory(None),
    "thread": lambda: threading.Thread(target=print).start(),
    "popen": lambda: subprocess.Popen(["true"]),
    "system": lambda: os.system("true"),
    "fork": os.fork,
    "posix_spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "connect": lambda: socket.create_connection(("127.0.0.1", 9)),
    "resolve": lambda: socket.getaddrinfo("localhost", 80),
    "datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("127.0.0.1", 9)),
    "start": lambda: some_workflow.start(),
    "start_many": lambda: some_workflow.start_many([((), {})]),
    "call": lambda: charge.call(1),
    "write": lambda: get_writable().write(1),
    "awrite": lambda: get_writable().awrite(1),
    "close stream": lambda: get_writable().close(),
    "step metadata": get_step_metadata,
}


@workflow
async def some_workflow() -> None: ...


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES.keys())
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_touches_the_outside_raises_and_names_the_way_out(touch: Callable[[], Any]) -> None:
    @workflow
    async def body() -> Any:
        result = touch()
        if asyncio.iscoroutine(result):
            await result

    run = Run(body).start()
    assert run.error["type"] == "django_workflows.exceptions.WorkflowSandboxError"
    assert "step" in run.error["message"] or "astart" in run.error["message"]
    assert run.end.payload["error_code"] == "workflow_sandbox"
    gc.collect()


def test_asgirefs_bridge_ends_in_the_sandbox_also_where_another_loop_is_active() -> None:
    sync = pytest.importorskip("asgiref.sync")

    @workflow
    async def body() -> Any:
        try:
            await sync.sync_to_async(print)()
        except WorkflowSandboxError:
            pass
        try:
            await sync.sync_to_async(print, thread_sensitive=False)()
        except WorkflowSandboxError:
            return "refused"

    assert Run(body).start().output == "refused"

    async def view() -> Any:
        return Run(body).start().output

    assert sync.async_to_sync(view)() == "refused"
    assert asyncio.run(view()) == "refused"


def test_a_body_runs_under_another_running_loop_and_leaves_it_as_it_was() -> None:
    @workflow
    async def body() -> Any:
        await asyncio.gather(a(1), sleep(1))
        return type(asyncio.get_running_loop()).__name__

    async def main() -> Any:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        run = Run(body).start()
        assert asyncio.get_running_loop() is loop
        assert asyncio.current_task() is task
        run.complete("a")
        await asyncio.sleep(0)
        run.pass_time()
        assert asyncio.current_task() is task
        return run.output

    assert asyncio.run(main()) == "DurableLoop"


def test_other_threads_are_not_guarded_while_a_body_runs() -> None:
    @workflow
    async def body() -> Any:
        go.set()
        assert done.wait(10)

    go, done, seen = threading.Event(), threading.Event(), []

    def elsewhere() -> None:
        go.wait(10)
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            seen.append(one.getsockname()[1])
        done.set()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    assert Run(body).start().output is None
    thread.join()
    assert seen


def test_nothing_is_guarded_outside_of_drains() -> None:
    @workflow
    async def body() -> Any:
        assert sandbox.is_draining()
        await a()

    run = Run(body).start()
    assert not sandbox.is_draining()
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    run.execution.close()
    assert not sandbox.is_draining()


def test_guards_are_entered_and_left_around_every_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(sandbox, "guards", [(lambda: calls.append("in") or len(calls), calls.append)])

    @workflow
    async def body() -> Any:
        calls.append("first")
        await a()
        calls.append("second")

    Run(body).start().complete("a")
    assert calls == ["in", "first", 1, "in", "second", 4]


def test_only_the_outermost_of_nested_drains_enters_the_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(sandbox, "guards", [(lambda: calls.append("in"), lambda state: calls.append("out"))])

    @workflow
    async def body() -> Any: ...

    with sandbox.draining():
        Run(body).start()
        assert sandbox.is_draining()
        assert calls == ["in"]
    assert calls == ["in", "out"]
    assert not sandbox.is_draining()


def test_the_garbage_collector_rests_while_a_body_runs() -> None:
    @workflow
    async def body() -> Any:
        return gc.isenabled()

    assert gc.isenabled()
    assert Run(body).start().output is False
    assert gc.isenabled()
    gc.disable()
    try:
        Run(body).start()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_garbage_collector_rests_until_the_last_of_several_bodies_is_done() -> None:
    inside, leave = threading.Event(), threading.Event()

    @workflow
    async def long() -> Any:
        inside.set()
        leave.wait(10)

    @workflow
    async def short() -> Any: ...

    thread = threading.Thread(target=lambda: Run(long).start())
    thread.start()
    inside.wait(10)
    Run(short).start()
    assert not gc.isenabled()
    leave.set()
    thread.join()
    assert gc.isenabled()


def test_bodies_run_in_a_fresh_context() -> None:
    language: ContextVar[str] = ContextVar("language", default="none")
    language.set("de")

    @workflow
    async def body() -> Any:
        before = language.get()
        language.set("fr")
        await a()
        return [before, language.get()]

    run = Run(body).start()
    language.set("es")
    run.complete("a")
    assert run.output == ["none", "fr"]
    assert language.get() == "es"


def test_outside_of_bodies_there_is_no_runtime() -> None:
    assert runtime.current() is None
    for primitive in (now, uuid4, random, create_hook, get_writable, lambda: sleep(1), lambda: set_attributes(x=1)):
        with pytest.raises(WorkflowSandboxError, match="workflow body"):
            primitive()


def test_race_is_ordinary_asyncio_elsewhere() -> None:
    async def main() -> Any:
        return await race(asyncio.sleep(0.001, "fast"), asyncio.sleep(100, "slow"))

    assert asyncio.run(main()) == "fast"


def test_asyncio_is_as_it_was_under_other_loops() -> None:
    async def value(n: int) -> int:
        return n

    async def main() -> Any:
        done, pending = await asyncio.wait([asyncio.create_task(value(n)) for n in range(3)])
        first = [await item for item in asyncio.as_completed([value(1), value(2)])]
        bare: asyncio.Future[int] = asyncio.Future()
        bare.set_result(5)
        more, _ = await asyncio.wait([bare, asyncio.gather(value(1))])
        return type(done), len(done), len(pending), sorted(first), len(more)

    @workflow
    async def body() -> Any: ...

    Run(body).start()
    assert asyncio.run(main()) == (set, 3, 0, [1, 2], 2)


def test_a_future_without_a_place_of_its_own_is_refused_where_order_matters() -> None:
    @workflow
    async def body() -> Any:
        bare: asyncio.Future[int] = asyncio.Future()
        await asyncio.wait([bare, asyncio.create_task(a())])

    assert "create_future" in Run(body).start().error["message"]


def test_a_body_may_not_use_another_loops_future() -> None:
    outer = asyncio.new_event_loop()
    foreign = outer.create_future()

    @workflow
    async def body() -> Any:
        await foreign

    try:
        assert "different loop" in Run(body).start().error["message"]
    finally:
        outer.close()


def test_exceptions_in_callbacks_go_nowhere_as_in_asyncio(caplog: pytest.LogCaptureFixture) -> None:
    @workflow
    async def body() -> Any:
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: 1 / 0)
        loop.call_exception_handler({"message": "told"})
        task = asyncio.create_task(failing())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert task.done()
        return "fine"

    async def failing() -> None:
        raise ValueError

    with caplog.at_level("DEBUG", logger="django_workflows.engine"):
        assert Run(body).start().output == "fine"
    assert {"told", "Exception in a callback"} <= {record.getMessage() for record in caplog.records}
    assert {record.levelname for record in caplog.records} == {"DEBUG"}
