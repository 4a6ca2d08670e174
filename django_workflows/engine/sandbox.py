"""While a body runs on a thread, that thread touches nothing outside.

The event loop refuses sockets, threads and executors by itself (``loop.py``). What goes past the loop is caught here:
an audit hook refuses the start of threads and processes and the use of sockets, and :data:`guards` lets the floors
above close the database. Only the draining thread is guarded; steps on other threads go on.

The garbage collector rests meanwhile: it would run finalizers (``__del__``, weakref callbacks, ``finally`` blocks of
lost generators) at a moment that depends on everything else in the process. Reference counts are deterministic.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from ..exceptions import WorkflowSandboxError

#: Python's audit events that mean "outside"; see the table in the documentation of ``sys.audit``
_FORBIDDEN: Final = {
    "_thread.start_new_thread": "starts a thread",
    "_thread.start_joinable_thread": "starts a thread",
    "subprocess.Popen": "starts a process",
    "os.system": "starts a process",
    "os.fork": "starts a process",
    "os.forkpty": "starts a process",
    "os.exec": "replaces the process",
    "os.posix_spawn": "starts a process",
    "os.spawn": "starts a process",
    "os.startfile": "starts a process",
    "pty.spawn": "starts a process",
    "socket.bind": "uses a socket",
    "socket.connect": "uses a socket",
    "socket.sendto": "uses a socket",
    "socket.sendmsg": "uses a socket",
    "socket.getaddrinfo": "looks up a host name",
    "socket.getnameinfo": "looks up a host name",
    "socket.gethostbyname": "looks up a host name",
    "socket.gethostbyaddr": "looks up a host name",
}

#: (enter, leave): ``enter()`` is called when a thread begins to run a body, ``leave(what enter() gave)`` at the end
guards: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []


def refusal(what: str) -> WorkflowSandboxError:
    """The error for a body that reached for the outside."""
    return WorkflowSandboxError(
        f"The workflow body {what}. A body is replayed, so it touches nothing outside: put that code in a step."
    )


class _Thread(threading.local):
    depth = 0


_thread = _Thread()
_lock = threading.Lock()
_installed = False
_paused = 0
_collecting = True


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event in _FORBIDDEN and _thread.depth:
        raise refusal(f"{_FORBIDDEN[event]} ({event})")


def install() -> None:
    """Add the audit hook to this process, once. Python cannot remove it; outside of drains it does nothing."""
    global _installed
    with _lock:
        if not _installed:
            _installed = True
            sys.addaudithook(_audit)
            if sys.version_info < (3, 12):
                _audit_threads()
            os.register_at_fork(after_in_child=_reset)


def _audit_threads() -> None:
    """Python 3.11 has no audit event for a new thread."""
    module: Any = threading
    start = module._start_new_thread

    def start_new_thread(*args: Any) -> Any:
        sys.audit("_thread.start_new_thread", *args)
        return start(*args)

    module._start_new_thread = start_new_thread


def is_draining() -> bool:
    """Whether this thread is running a workflow body."""
    return _thread.depth > 0


class draining:  # noqa: N801  (reads as a verb: ``with draining():``)
    """The sandbox around everything that may run user code of a body, its teardown included. May be nested."""

    __slots__ = ("_entered",)

    def __enter__(self) -> None:
        if _thread.depth:  # nested: everything is closed already
            _thread.depth += 1
            self._entered: Sequence[tuple[Callable[[Any], None], Any]] = ()
            return
        self._entered = [(leave, enter()) for enter, leave in guards] if guards else ()
        _pause_gc()
        _thread.depth = 1

    def __exit__(self, *exc_info: object) -> None:
        _thread.depth -= 1
        if _thread.depth:
            return
        _resume_gc()
        for leave, state in reversed(self._entered):
            leave(state)


class gc_paused:  # noqa: N801
    """The garbage collector is paused for the whole block, so that it runs once after a batch of drains, not once after each."""

    __slots__ = ()

    def __enter__(self) -> None:
        _pause_gc()

    def __exit__(self, *exc_info: object) -> None:
        _resume_gc()


def _pause_gc() -> None:
    global _paused, _collecting
    with _lock:
        if not _paused:
            _collecting = gc.isenabled()
            gc.disable()
        _paused += 1


def _resume_gc() -> None:
    global _paused
    with _lock:
        _paused -= 1
        if not _paused and _collecting:
            gc.enable()


@contextmanager
def lifted() -> Iterator[None]:
    """For the engine's own work in the middle of a drain: nothing is refused in the block."""
    depth, _thread.depth = _thread.depth, 0
    try:
        yield
    finally:
        _thread.depth = depth


def _reset() -> None:
    """In a forked child only the forking thread survives: what other threads had begun will never end."""
    global _lock, _paused
    _lock = threading.Lock()
    _thread.depth = 0
    if _paused:
        _paused = 0
        if _collecting:
            gc.enable()
