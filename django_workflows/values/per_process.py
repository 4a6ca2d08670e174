"""One object per process, for what owns threads or connections: neither survives a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Calling it gives the process's object, which ``make`` makes at the first call. A forked child makes its own.

    For module-level names: it is never forgotten. The parent's object is dropped in the child without a word to it, as
    its threads are not there and its locks may be held by one of them.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._found: list[T] = []

    def __call__(self) -> T:
        if not self._found:
            with self._lock:
                if not self._found:
                    self._found.append(self._make())
        return self._found[0]

    @property
    def made(self) -> T | None:
        """The object, if the process has one."""
        return self._found[0] if self._found else None
