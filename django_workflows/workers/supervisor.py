"""The supervisor: owns N worker processes, replaces those that die or hang, and parks the runs that take them down.

It forks them before it opens any connection, and closes its own before each later fork. Its processes die with it.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .. import conf
from ..services import runs
from ..store import claims, faults, locking
from ..store.code_version import code_version
from ..store.transactions import atomic
from ..store.write import write
from .link import forks
from .link.watchdog import Watchdog
from .process import WorkerProcess, install_signals

logger = logging.getLogger("django_workflows.worker")

#: seconds between two rounds over the processes
TICK = 0.1
_STOPS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """``queues`` None: all. ``concurrency`` None: as the setting says; attempts at a time in each of the ``processes``.

    ``burst``: end when nothing is due. ``grace``: seconds that running steps get when the worker stops.
    """

    queues: tuple[str, ...] | None = None
    concurrency: int | None = None
    processes: int = 1
    burst: bool = False
    grace: float = 30.0


@dataclass(slots=True)
class _Child:
    pid: int
    watchdog: Watchdog
    started: float
    #: closed by our end: the child sees that its supervisor is gone
    lifeline: int
    #: we have killed it, since its body computed for too long
    hung: bool = False


@dataclass(slots=True)
class Supervisor:
    """``run()`` forks the processes and returns the exit code when all of them have ended."""

    options: WorkerOptions
    #: says from time to time whether the code has changed, so that everything is started anew
    changed: Callable[[], bool] = lambda: False
    _children: dict[int, _Child] = field(default_factory=dict)
    #: when (``time.monotonic()``) processes are to take the place of those that died
    _births: list[float] = field(default_factory=list)
    _stopping: bool = False
    _killed_at: float | None = None
    #: runs that have taken a process down, and how, to be recorded in their rows
    _crashed: list[tuple[str, str]] = field(default_factory=list)
    _restart: bool = False

    def run(self) -> int:
        """Returns the exit code when all processes have ended. The caller's signal handlers are back then."""
        before = [signal.signal(number, self._stop) for number in _STOPS]
        try:
            return self._supervise()
        finally:
            for number, handler in zip(_STOPS, before, strict=True):
                signal.signal(number, handler)

    def _supervise(self) -> int:
        for _ in range(self.options.processes):
            self._fork()
        while self._children or (self._births and not self._stopping):
            time.sleep(TICK)
            self._reap()
            self._replace(time.monotonic())
            self._end_hung()
            self._park()
            if not self._stopping and self.changed():
                self._restart = True
                self._stop()
            if self._killed_at is not None and time.monotonic() > self._killed_at:
                self._signal(signal.SIGKILL)
        if self._restart:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command line
        return 0

    def _stop(self, *_: object) -> None:
        if not self._stopping:
            self._stopping = True
            self._killed_at = time.monotonic() + self.options.grace + 10
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        for child in list(self._children.values()):
            try:
                os.kill(child.pid, number)
            except ProcessLookupError:
                continue

    # --- children ----------------------------------------------------------------------------------------------------

    def _fork(self) -> None:
        forks.close_connections()
        watchdog = Watchdog()
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)  # until the child has handlers of its own
        if self._stopping:  # a child that is born after the order to stop would not hear of it
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
            return
        read, write_ = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(write_)
            for sibling in self._children.values():
                os.close(sibling.lifeline)
            _become_worker(self.options, watchdog, read)
        self._children[pid] = _Child(pid, watchdog, time.monotonic(), write_)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)  # an order to stop that comes now reaches this child, too
        os.close(read)

    def _reap(self) -> None:
        for child in list(self._children.values()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if not pid:
                continue
            del self._children[child.pid]
            os.close(child.lifeline)
            ended_well = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
            if not ended_well:
                self._blame(child, f"ended its worker process ({_how(status)})")
                self._park()  # before a new process takes the run up again
            if self._stopping or (ended_well and self.options.burst):
                continue
            now = time.monotonic()
            # what cannot start is not forked in a loop
            self._births.append(now + 1.0 if now - child.started < 1.0 else now)

    def _replace(self, now: float) -> None:
        due = [moment for moment in self._births if moment <= now]
        self._births = [moment for moment in self._births if moment > now]
        for _ in due:
            self._fork()

    def _end_hung(self) -> None:
        for child in self._children.values():
            advancing = child.watchdog.read()
            if advancing is not None and advancing[1] > conf.settings.HANG_TIMEOUT and _lives(child.pid):
                child.hung = True
                logger.error("Worker %s has hung in run %s for %.0f s; it is replaced.", child.pid, *advancing)
                os.kill(child.pid, signal.SIGKILL)

    # --- runs that take processes down ---------------------------------------------------------------------------------

    def _blame(self, child: _Child, how: str) -> None:
        advancing = child.watchdog.read()
        if advancing is None:
            logger.error("Worker process %s %s; a new one takes its place.", child.pid, how)
            return
        run_id, seconds = advancing
        if child.hung:
            how = f"computed for {seconds:.0f} s without awaiting anything"
        logger.error("Run %s %s.", run_id, how)
        self._crashed.append((run_id, how))

    def _park(self) -> None:
        """Record the crashes in the rows of their runs; what cannot be recorded now is next time."""
        left = []
        for run_id, how in self._crashed:
            try:
                if not _record_crash(run_id, how):
                    left.append((run_id, how))
            except faults.DATABASE_ERRORS:
                left.append((run_id, how))
        if self._crashed:
            forks.close_connections()
        self._crashed = left


def _record_crash(run_id: str, how: str) -> bool:
    """False: another transaction holds the run just now. A run that is gone needs no parking."""
    with atomic():
        found = locking.lock_runs([run_id], skip_locked=True, entities=False)
        for transition in found:
            runs.block_crashed_run(transition, how, code_version())
            write([transition])
        return bool(found) or not claims.existing_runs([run_id])


def _lives(pid: int) -> bool:
    """Whether the child has not ended yet; it stays to be reaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return f"exit code {os.WEXITSTATUS(status)}"


def _become_worker(options: WorkerOptions, watchdog: Watchdog, lifeline: int) -> None:
    """The child's whole life; never returns."""
    code = 1
    try:
        forks.forget_connections()  # of a thread of the project's, say
        _die_with_parent(lifeline)
        process = WorkerProcess(
            queues=options.queues,
            concurrency=options.concurrency,
            burst=options.burst,
            grace=options.grace,
            watchdog=watchdog,
        )
        install_signals(process.stop)
        forks.install(process.sessions)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
        process.run()
        code = 0
    except BaseException:
        logger.exception("A worker process failed.")
    finally:
        logging.shutdown()
        os._exit(code)


def _die_with_parent(lifeline: int) -> None:
    """End when the supervisor ends: by the kernel on Linux, elsewhere when the pipe from it closes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)

    def wait() -> None:
        os.read(lifeline, 1)
        os._exit(1)

    threading.Thread(target=wait, name="workflows-lifeline", daemon=True).start()
