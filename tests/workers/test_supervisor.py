"""The supervisor alone: what it does with its children, which here are not workers."""

from __future__ import annotations

import os
import time

import pytest

from django_workflows.workers import supervisor as module
from django_workflows.workers.link.watchdog import Watchdog
from django_workflows.workers.supervisor import Supervisor, WorkerOptions


def _dead_child() -> module._Child:
    pid = os.fork()
    if pid == 0:
        os._exit(1)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return module._Child(pid, Watchdog(), time.monotonic(), os.open(os.devnull, os.O_RDONLY))


@pytest.fixture
def born(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Supervisors fork children that only record that they were started, and wait for their end."""
    read, write = os.pipe()

    def become(*_: object) -> None:
        os.write(write, b"x")
        os.read(read, 0)
        os._exit(0)

    monkeypatch.setattr(module, "_become_worker", become)
    return [read, write]


def test_a_child_that_dies_is_replaced_and_not_at_once_when_it_was_young(born: list[int]) -> None:
    supervisor = Supervisor(WorkerOptions())
    child = _dead_child()
    supervisor._children = {child.pid: child}
    supervisor._reap()
    supervisor._replace(child.started)
    assert not supervisor._children
    supervisor._replace(child.started + 60)
    (replaced,) = supervisor._children.values()
    os.waitpid(replaced.pid, 0)
    os.close(replaced.lifeline)
    assert os.read(born[0], 1) == b"x"


def test_a_supervisor_that_stops_while_a_child_is_being_replaced_starts_no_new_one(born: list[int]) -> None:
    """It would never receive the signal to stop, and would be killed after the grace period."""
    supervisor = Supervisor(WorkerOptions())
    child = _dead_child()
    supervisor._children = {child.pid: child}
    supervisor._reap()
    supervisor._stop()
    supervisor._replace(child.started + 60)
    assert not supervisor._children


def test_a_body_that_ended_its_process_is_not_said_to_have_hung_however_late_that_is_noticed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module.conf.settings, "HANG_TIMEOUT", 0.0)
    supervisor = Supervisor(WorkerOptions(burst=True))
    child = _dead_child()
    child.watchdog.mark("wrun_1")
    supervisor._children = {child.pid: child}
    supervisor._end_hung()
    supervisor._reap()
    assert "exit code 1" in caplog.text
    assert "computed" not in caplog.text
