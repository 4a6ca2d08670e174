"""What ends the main loop's wait: a NOTIFY, a call from its own threads, or time.

The same connection holds the session advisory lock that shows others that this process lives.
"""

from __future__ import annotations

import os
import secrets
import select
import time
from contextlib import suppress
from typing import Any

from django.db import OperationalError, connections

from ... import conf
from ...notify.listener import PROOF_INTERVAL, is_direct, listening_connection
from ...store import database

#: seconds between two reads of SQLite's counter of changes
SQLITE_POLL = 0.02


class Doorbell:
    """``wait`` returns True when there may be something to do. A lost NOTIFY costs one poll interval."""

    def __init__(self) -> None:
        self._alias = conf.settings.LISTEN_DATABASE or database.alias()
        self._wanted = database.is_postgresql()
        #: psycopg's own, or None
        self.connection: Any = None
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self.lock_key = secrets.randbits(62)
        #: another session can see that the lock is ours; False behind a transaction pooler
        self.lock_trusted = False
        self.listening = False
        self._retry_at = 0.0
        #: when a connection that led through a pooler is tried again
        self._proof_at = 0.0
        self._heard: list[str] = []
        self._data_version = -1

    def open(self) -> None:
        """Connect, take a lock, prove it from a second connection, and listen.

        Behind a pooler nothing of it would hold: then no connection is kept, the heartbeat shows that this process lives,
        and it polls. The next try is made after :data:`PROOF_INTERVAL`.

        Raises:
            django.db.OperationalError: the database is away.
        """
        if not self._wanted or self.connection is not None or time.monotonic() < self._proof_at:
            return
        import psycopg

        try:
            self._open()
        except psycopg.Error as error:
            self.close()
            raise OperationalError(str(error)) from error

    def _open(self) -> None:
        self.connection = listening_connection(self._alias)
        if not is_direct(self.connection):
            self.close()
            self._proof_at = time.monotonic() + PROOF_INTERVAL
            return
        # A new key each time: after a cut network the server may keep the old session, and its lock, for a while.
        self.lock_key = secrets.randbits(62)
        self.connection.execute("SELECT pg_advisory_lock(%s)", [self.lock_key])
        self.lock_trusted = self._prove_lock()
        self.listening = bool(conf.settings.LISTEN) and self.lock_trusted
        if conf.settings.LISTEN:
            self.connection.execute(f"LISTEN {database.WORK}")

    def _prove_lock(self) -> bool:
        """A second session must not get the lock. Where locks are only a matter of form, it would."""
        probe = listening_connection(self._alias)
        try:
            (got,) = probe.execute("SELECT pg_try_advisory_lock(%s)", [self.lock_key]).fetchone()
            return not got
        finally:
            probe.close()

    def ring(self) -> None:
        """Wake the main loop from another thread or from a signal handler."""
        with suppress(BlockingIOError, OSError):
            os.write(self._write, b"x")

    def wait(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds. True: there may be something to do."""
        if not self._wanted:
            return self._wait_for_change(timeout)
        sources = [self._read]
        if (server := self._socket()) is not None:
            sources.append(server)
        readable, _, _ = select.select(sources, [], [], max(0.0, timeout))
        if self._read in readable:
            with suppress(BlockingIOError):
                while os.read(self._read, 4096):
                    pass
        if server in readable:
            return self._hear()
        return bool(readable)

    def _wait_for_change(self, timeout: float) -> bool:
        """SQLite has no NOTIFY, but tells cheaply whether another connection has written since it was last asked."""
        end = time.monotonic() + timeout
        while True:
            readable, _, _ = select.select([self._read], [], [], max(0.0, min(SQLITE_POLL, end - time.monotonic())))
            if readable:
                with suppress(BlockingIOError):
                    while os.read(self._read, 4096):
                        pass
            changed = self._has_changed()
            if changed:
                self._heard.append("")
            if readable or changed or time.monotonic() >= end:
                return bool(readable or changed)

    def _has_changed(self) -> bool:
        with connections[database.alias()].cursor() as cursor:
            cursor.execute("PRAGMA data_version")
            version: int = cursor.fetchone()[0]
        changed, self._data_version = version != self._data_version, version
        return changed

    def check(self) -> None:
        """Close what the server has closed. A connection that lives keeps its lock."""
        server = self._socket()
        if server is not None and select.select([server], [], [], 0)[0]:
            self._hear()

    def _socket(self) -> int | None:
        import psycopg

        if self.connection is None:
            return None
        try:
            return int(self.connection.fileno())
        except psycopg.Error:
            self.close()
            return None

    def _hear(self) -> bool:
        import psycopg

        try:
            for notice in self.connection.notifies(timeout=0):
                self._heard.append(notice.payload)
        except psycopg.Error:
            self.close()
            self._heard.append("")
        return True

    def heard(self) -> list[str] | None:
        """The runs that other processes have notified us of since the last call; None: anything may be due."""
        heard, self._heard = self._heard, []
        return None if "" in heard else heard

    def keep_open(self) -> bool:
        """Connect again after a loss, at most once a second. True: the lock is a new one, to be written into the worker's row."""
        if not self._wanted or self.connection is not None or time.monotonic() < self._retry_at:
            return False
        self._retry_at = time.monotonic() + 1.0
        try:
            self.open()
        except Exception:  # noqa: BLE001 - whatever it is, the next second tries again
            self.close()
        return self.connection is not None

    def close(self) -> None:
        if self.connection is not None:
            with suppress(Exception):
                self.connection.close()
        self.connection = None
        self.lock_trusted = self.listening = False
