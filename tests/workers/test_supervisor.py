"""The supervisor alone: what it does with its children, which here are nobody's workers."""

from __future__ import annotations

import os
import time

import pytest

from django_workflows.workers import supervisor as module
from django_workflows.workers.supervisor import Supervisor, WorkerOptions
from django_workflows.workers.watch import Watch


def _dead_child() -> module._Child:
    pid = os.fork()
    if pid == 0:
        os._exit(1)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return module._Child(pid, Watch(), time.monotonic(), os.open(os.devnull, os.O_RDONLY))


@pytest.fixture
def born(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Supervisors fork children that only note that they were born, and wait for their end."""
    read, write = os.pipe()

    def become(*_: object) -> None:
        os.write(write, b"x")
        os.read(read, 0)
        os._exit(0)

    monkeypatch.setattr(module, "_become_worker", become)
    return [read, write]


def test_a_child_that_dies_is_replaced(born: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda _seconds: None)
    supervisor = Supervisor(WorkerOptions())
    child = _dead_child()
    supervisor._children = {child.pid: child}
    supervisor._reap()
    (replaced,) = supervisor._children.values()
    assert replaced.pid != child.pid
    os.waitpid(replaced.pid, 0)
    os.close(replaced.lifeline)
    assert os.read(born[0], 1) == b"x"


def test_a_supervisor_told_to_stop_while_a_child_is_to_be_replaced_has_no_new_one(
    born: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would never hear that it is to stop, and be killed when the grace is over."""
    supervisor = Supervisor(WorkerOptions())
    child = _dead_child()
    supervisor._children = {child.pid: child}
    monkeypatch.setattr(module.time, "sleep", lambda _seconds: supervisor._stop())
    supervisor._reap()
    assert not supervisor._children
