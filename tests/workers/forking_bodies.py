"""Workflows whose steps fork."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time

from django.db import connection

from django_workflows import get_step_metadata, step, workflow
from tests.workers.bodies import LONG, note, wait_for_note


def _exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@step(max_retries=0)
def fork(end: str) -> int:
    """The child returns, raises or exits; the parent returns its exit code."""
    pid = os.fork()
    if pid:
        return _exit_code(pid)
    if end == "raise":
        raise RuntimeError("in the child")
    if end == "exit":
        sys.exit(7)
    return -1


@step(max_retries=0)
async def afork(end: str) -> int:
    return int(fork.fn(end))


@step(atomic=True, max_retries=0)
def fork_in_a_transaction(end: str) -> int:
    note(f"forked:{end}")
    return int(fork.fn(end))


@workflow
async def forking(end: str) -> list[int]:
    return [await fork(end), await afork(end), await fork_in_a_transaction(end)]


def _query(key: str) -> None:
    for number in range(50):
        note(key, str(number))


@step(max_retries=0)
def query_in_both(key: str) -> int | None:
    """Parent and child use the ORM at the same time."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    child = multiprocessing.get_context("fork").Process(target=_query, args=(f"child:{key}",))
    child.start()
    _query(f"parent:{key}")
    child.join(LONG)
    return child.exitcode


@workflow
async def querying(key: str) -> int | None:
    return await query_in_both(key)


@step(max_retries=0)
def terminate() -> int | None:
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(LONG,))
    child.start()
    child.terminate()
    child.join(10)
    if child.exitcode is None:
        child.kill()
    return child.exitcode


@workflow
async def terminating() -> int | None:
    return await terminate()


@step(retry_delay=0.01)
def leave_a_child(key: str) -> int:
    """The child outlives a worker that is killed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    if get_step_metadata().attempt == 1:
        pid = os.fork()
        if not pid:
            time.sleep(LONG)
            os._exit(0)
        note(f"child:{key}", str(pid))
    note(f"began:{key}")
    wait_for_note(f"go:{key}")
    return get_step_metadata().attempt


@workflow
async def leaving_a_child(key: str) -> int:
    return await leave_a_child(key)
