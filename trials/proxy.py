"""A proxy between workers and PostgreSQL that delays, cuts connections around a COMMIT, and swallows notifications.

It listens on a unix socket in a directory of its own, so that only the host of the connection changes.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from pathlib import Path
from tempfile import mkdtemp

_SOCKET = ".s.PGSQL.5432"


class Proxy:
    """``cut_before`` and ``cut_after``: chances that a connection is cut when a COMMIT passes, before the server sees it
    or after it did but before its answer comes back. ``delay``: the most seconds that a message from the server waits."""

    def __init__(
        self,
        server: Path,
        chance: random.Random,
        *,
        cut_before: float = 0.0,
        cut_after: float = 0.0,
        delay: float = 0.0,
    ) -> None:
        self.directory = Path(mkdtemp(prefix="dwf-proxy-", dir="/tmp"))
        self.cuts = {"before": 0, "after": 0}
        self._server, self._chance = server, chance
        self._before, self._after, self._delay = cut_before, cut_after, delay
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.directory / _SOCKET))
        self._listener.listen(200)
        threading.Thread(target=self._accept, daemon=True).start()

    def calm(self) -> None:
        """Let everything through from now on."""
        self._before = self._after = self._delay = 0.0

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(str(self._server / _SOCKET))
                except OSError:
                    client.close()
                    continue
                for source, target, filtered in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pump, args=(source, target, filtered), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, filtered: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if filtered and b"COMMIT" in data:
                    drawn = self._chance.random()
                    if drawn < self._before:
                        self.cuts["before"] += 1
                        break
                    if drawn < self._before + self._after:
                        self.cuts["after"] += 1
                        _deafen(source)  # the server commits, and its answer is lost
                        target.sendall(data)
                        time.sleep(0.05)
                        break
                elif not filtered and self._delay:
                    time.sleep(self._chance.uniform(0.0, self._delay))
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _deafen(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_RDWR)
