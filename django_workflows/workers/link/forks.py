"""What a process must not hand on to the children that it forks, and they must not keep.

Two processes on one socket read each other's answers; a child that keeps a socket open keeps its parent's locks alive
after the parent has died; a pool's threads and another thread's locks do not exist in the child at all.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from ...authoring.runtime import RUNTIME

_STOPS = (signal.SIGTERM, signal.SIGINT)
#: of the thread that is forking
_masks = threading.local()
#: psycopg's connections of this process, Django's and our own
_sessions: WeakSet[Any] = WeakSet()
#: what was inherited and is never used: to destroy it would run its parent's farewells
_inherited: list[Any] = []


def close_connections() -> None:
    """Before a fork: close the calling thread's connections and Django's pools, which come back when they are needed."""
    connections.close_all()
    for connection in connections.all():
        if connection.settings_dict["OPTIONS"].get("pool"):
            connection.close_pool()  # type: ignore[attr-defined]  # of PostgreSQL


def forget_connections() -> None:
    """In a child: whatever was open stays its parent's; what is asked from now on gets a connection of its own."""
    for connection in connections.all(initialized_only=True):
        pools = getattr(connection, "_connection_pools", {})  # per class: shared by all threads
        _inherited.extend(pools.values())
        pools.clear()
        _forget(connection)


def _forget(connection: BaseDatabaseWrapper) -> None:
    _inherited.append(connection.connection)
    connection.connection = None
    connection.in_atomic_block = connection.closed_in_transaction = connection.needs_rollback = False
    connection.savepoint_ids, connection.atomic_blocks, connection.run_on_commit = [], [], []


def install(own: Callable[[], Iterable[Any]]) -> None:
    """From now on children of this worker process, which its steps may fork, keep nothing of the worker.

    ``own`` gives the psycopg connections that Django does not know. Call it once, in a process that ends as a worker.
    """

    def forget() -> None:
        for number in _STOPS:  # ``Process.terminate()`` is for the child, not for the worker
            signal.signal(number, signal.SIG_DFL)
        _unblock()
        for session in [*_sessions, *own()]:
            with suppress(Exception):
                os.close(session.pgconn.socket)  # the descriptor alone: the server must not hear a farewell
        forget_connections()
        RUNTIME.set(None)  # a child is no attempt

    connection_created.connect(_note, dispatch_uid="django_workflows.forks")
    os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=forget)


def _block() -> None:
    """A signal that reaches the child before it has handlers of its own waits: Python would drop it."""
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _note(connection: BaseDatabaseWrapper, **_: object) -> None:
    if connection.vendor == "postgresql":
        _sessions.add(connection.connection)
