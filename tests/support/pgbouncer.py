"""A real PgBouncer in transaction mode in front of a PostgreSQL, on a free port of the loopback interface."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.postgres import die_with_parent
from tests.support.eventually import eventually

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
ABSENT = "no PgBouncer on this machine (apt-get install pgbouncer)"


class PgBouncer:
    """Running from construction to :meth:`close`, or until this process ends. Also a context manager.

    ``direct`` is the URL of the database behind it. Sessions of the server are lent in turn, so that two transactions of
    one client rarely come to the same one. ``url`` is for psycopg and ``DATABASE_URL``.
    """

    def __init__(self, direct: str, *, pool_size: int = 5) -> None:
        assert PROGRAM, ABSENT
        target = conninfo_to_dict(direct)
        self.port = _free_port()
        self.url = f"postgresql://{target['user']}@127.0.0.1:{self.port}/{target['dbname']}"
        self.directory = Path(tempfile.mkdtemp(prefix="dwf-pgbouncer-", dir="/tmp"))
        (self.directory / "users").write_text(f'"{target["user"]}" "{target.get("password", "")}"\n')
        (self.directory / "ini").write_text(self._configuration(target, pool_size))
        account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None  # it refuses to run as root
        if account:
            for path in (self.directory, *self.directory.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, str(self.directory / "ini")],
                cwd=self.directory,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 (as in tests.postgres)
            )
        eventually(self._accepts, "PgBouncer accepts connections")
        self._open_sessions(pool_size)

    def _configuration(self, target: dict[str, object], pool_size: int) -> str:
        parts = {"host": target.get("host"), "port": target.get("port"), "password": target.get("password")}
        given = " ".join(f"{key}={value}" for key, value in parts.items() if value)
        return (
            f"[databases]\n{target['dbname']} = dbname={target['dbname']} user={target['user']} {given}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = any\nauth_file = {self.directory}/users\npool_mode = transaction\n"
            f"default_pool_size = {pool_size}\nmax_client_conn = 500\nserver_round_robin = 1\n"
            "ignore_startup_parameters = extra_float_digits,options\n"
        )

    def _accepts(self) -> bool:
        assert self._process.poll() is None, (self.directory / "log").read_text()[-2000:]
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def _open_sessions(self, count: int) -> None:
        """It opens one only when all are taken; and with a single one, everything would seem to work."""
        clients = [psycopg.connect(self.url, prepare_threshold=None) for _ in range(count)]
        for client in clients:
            client.execute("SELECT 1")  # opens a transaction
        for client in clients:
            client.rollback()  # one that leaves in a transaction takes the session with it
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
