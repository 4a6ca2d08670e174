"""Waiting for what another process will write: one listener per process wakes all waiters in it.

A notification is a hint. A waiter polls the rows first, then waits for a notification or for a short while, and polls
again; so losing every NOTIFY costs time and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import connections

from .. import conf
from ..store import database
from ..values.per_process import PerProcess

#: seconds between two polls while the listener hears, and while it does not
SLOW_POLL = 1.0
FAST_POLL = 0.02
#: seconds after which a listener without subscriptions ends and closes its connection
LINGER = 30.0
#: seconds before a connection that turned out to lead through a pooler is tried again: the address may be another by then
PROOF_INTERVAL = 30.0


class Listener:
    """A thread with a connection of its own that hears ``CHANGED`` and calls those who subscribed to its payload."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._lock = threading.Lock()
        self._calls: dict[str, list[Callable[[], None]]] = defaultdict(list)
        self._thread: threading.Thread | None = None
        self.ready = threading.Event()
        self._idle_since = time.monotonic()
        self._stopping = False
        self._interrupt = threading.Event()

    def stop(self) -> None:
        """End the thread and close its connection."""
        self._stopping = True
        self._interrupt.set()
        if (thread := self._thread) is not None:
            database.notify(database.CHANGED)  # wakes it
            thread.join(10)
        self._stopping = False
        self._interrupt.clear()

    def subscribe(self, key: str, call: Callable[[], None]) -> None:
        """``call``, which must not block, is called from the listener's thread at every notification of the key."""
        with self._lock:
            self._calls[key].append(call)
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="workflows-listener", daemon=True)
                self._thread.start()

    def unsubscribe(self, key: str, call: Callable[[], None]) -> None:
        """Take back one subscription; the thread ends after ``LINGER`` seconds without any."""
        with self._lock:
            self._calls[key].remove(call)
            if not self._calls[key]:
                del self._calls[key]
            self._idle_since = time.monotonic()

    def _listen(self) -> None:
        pause = 0.1
        while not self._may_end():
            try:
                self._listen_once()
                pause = 0.1
            except Exception:  # noqa: BLE001 - the database is away: the waiters poll meanwhile
                self.ready.clear()
                time.sleep(pause)
                pause = min(pause * 2, 5.0)

    def _may_end(self) -> bool:
        with self._lock:
            if not self._stopping and (self._calls or time.monotonic() - self._idle_since < LINGER):
                return False
            self._thread = None
            self.ready.clear()
            return True

    def _listen_once(self) -> None:
        connection = listening_connection(self._alias)
        try:
            if not is_direct(connection):
                connection.close()  # LISTEN would stay on a session that others use, and hear nothing here
                self._interrupt.wait(PROOF_INTERVAL)
                return
            connection.execute(f"LISTEN {database.CHANGED}")
            self.ready.set()
            self._call_all()  # what was written before we listened
            while True:
                for notice in connection.notifies(timeout=1.0, stop_after=1):
                    self._call(notice.payload)
                with self._lock:
                    if self._stopping or (not self._calls and time.monotonic() - self._idle_since >= LINGER):
                        return
        finally:
            self.ready.clear()
            with suppress(Exception):
                connection.close()

    def _call(self, key: str) -> None:
        with self._lock:
            calls = list(self._calls.get(key, ()))
        for call in calls:
            with suppress(Exception):
                call()

    def _call_all(self) -> None:
        with self._lock:
            keys = list(self._calls)
        for key in keys:
            self._call(key)


def listening_connection(alias: str) -> Any:
    """An autocommit psycopg connection with the parameters of a Django alias, for LISTEN."""
    import psycopg

    parameters = connections[alias].get_connection_params()
    for name in ("cursor_factory", "context"):
        parameters.pop(name, None)
    parameters.update(autocommit=True, application_name="workflows-listen", connect_timeout=5, prepare_threshold=None)
    parameters.update(keepalives=1, keepalives_idle=30, keepalives_interval=10, keepalives_count=3)
    return psycopg.connect(**parameters)


def is_direct(connection: Any) -> bool:
    """Whether this psycopg connection has a session of the server to itself.

    Then session locks, LISTEN, session settings and prepared statements hold on it. The server names its process when the
    connection is opened, for cancelling; whatever answers in its place, as PgBouncer does, names another one.
    """
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return bool(row[0] == connection.info.backend_pid)


class Listeners:
    """The listeners of a process, one for each database on which one is asked for; ``LISTEN_DATABASE`` may change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_alias: dict[str, Listener] = {}

    def on(self, alias: str) -> Listener:
        """The listener on this database."""
        with self._lock:
            if alias not in self._by_alias:
                self._by_alias[alias] = Listener(alias)
            return self._by_alias[alias]

    def stop(self) -> None:
        """End their threads and close their connections."""
        with self._lock:
            listeners = list(self._by_alias.values())
        for listener in listeners:
            listener.stop()


_listeners = PerProcess(Listeners)


def _listener() -> Listener | None:
    """The process's listener; None where the database cannot notify."""
    if not database.is_postgresql() or not conf.settings.LISTEN:
        return None
    return _listeners().on(conf.settings.LISTEN_DATABASE or database.alias())


def is_listening() -> bool:
    """Whether subscribing costs nothing: the listener is there and hears."""
    listener = _listener()
    return listener is not None and listener.ready.is_set()


def close_listeners() -> None:
    """Close the listening connections of this process; they are opened again when a caller waits again."""
    _listeners().stop()


class Waiter:
    """What a caller holds while it waits."""

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener

    @property
    def poll(self) -> float:
        """Seconds to wait for a notification before the rows are polled again."""
        return SLOW_POLL if self._listener is not None and self._listener.ready.is_set() else FAST_POLL


@contextmanager
def subscription(key: str, call: Callable[[], None]) -> Iterator[Waiter]:
    """``call`` is called, from another thread, when what ``key`` names may have changed."""
    listener = _listener()
    if listener is None:
        yield Waiter(None)
        return
    listener.subscribe(key, call)
    try:
        yield Waiter(listener)
    finally:
        listener.unsubscribe(key, call)
