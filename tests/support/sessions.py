"""Several sessions at once: threads with connections of their own, and a way to see whether the database makes one wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection, connections

from tests.support.eventually import eventually


class Session(threading.Thread):
    """Runs ``act`` on a connection of its own. ``pid`` is the server's process; ``outcome`` its result or exception."""

    def __init__(self, act: Callable[[], Any], gate: threading.Barrier | None = None) -> None:
        super().__init__(daemon=True)
        self._act, self._gate = act, gate
        self.pid: int | None = None
        self.value: Any = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                self.pid = cursor.fetchone()[0]
            if self._gate is not None:
                self._gate.wait(10)
            self.value = self._act()
        except BaseException as error:
            self.error = error
        finally:
            connections.close_all()

    def outcome(self, timeout: float = 30.0) -> Any:
        """What ``act`` returned; its exception is raised here."""
        self.join(timeout)
        assert not self.is_alive(), "the session has not ended"
        if self.error is not None:
            raise self.error
        return self.value

    def wait_until_blocked(self) -> None:
        """Return once the server says that this session waits for a lock."""

        def look() -> bool:
            if not self.is_alive():
                raise AssertionError(f"The session ended without waiting for a lock: {self.error or self.value!r}")
            return self.pid is not None and _waits_for_lock(self.pid)

        eventually(look, "the session waits for a lock", timeout=10.0)


def _waits_for_lock(pid: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", [pid])
        row = cursor.fetchone()
    return row is not None and row[0] == "Lock"


def race(*acts: Callable[[], Any]) -> list[Any]:
    """Run ``acts`` at the same time. Returns what each came to: its value or its exception."""
    gate = threading.Barrier(len(acts))
    sessions = [Session(act, gate) for act in acts]
    for session in sessions:
        session.join(60)
        assert not session.is_alive(), "a session hangs"
    return [session.error if session.error is not None else session.value for session in sessions]


@contextmanager
def second_connection() -> Iterator[psycopg.Connection[Any]]:
    """A plain connection to the same database, autocommit."""
    parameters = connections["default"].get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    with psycopg.connect(**parameters, autocommit=True) as other:
        yield other
