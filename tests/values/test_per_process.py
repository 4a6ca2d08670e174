"""One object per process: for threads at once, and for a child after a fork."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from django_workflows.values.per_process import PerProcess


class Owner:
    def __init__(self) -> None:
        self.pid = os.getpid()


def test_the_first_call_makes_it_and_no_later_one() -> None:
    owner = PerProcess(Owner)
    assert owner.made is None
    assert owner() is owner() is owner.made


def test_threads_that_ask_at_once_get_the_same() -> None:
    begun, go = threading.Barrier(9), threading.Event()
    made: list[object] = []

    def make() -> object:
        go.wait(10)  # every thread is on its way before the first one is done
        made.append(object())
        return made[-1]

    owner, found = PerProcess(make), []

    def ask() -> None:
        begun.wait(10)
        found.append(owner())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    begun.wait(10)
    go.set()
    for thread in threads:
        thread.join(10)
    assert len(made) == 1
    assert found == made * 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_makes_its_own_even_where_the_parent_was_making_one_at_the_fork() -> None:
    making, go = threading.Event(), threading.Event()

    def make() -> Owner:
        making.set()
        go.wait(10)
        return Owner()

    owner = PerProcess(make)
    thread = threading.Thread(target=owner)
    thread.start()
    making.wait(10)
    pid = os.fork()
    if pid == 0:  # the thread that holds the lock is not here
        signal.alarm(20)
        go.set()
        os._exit(0 if owner().pid == os.getpid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    go.set()
    thread.join(10)
    assert owner().pid == os.getpid()
