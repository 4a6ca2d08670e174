"""A supervisor and its worker processes as a subprocess: ``python -m tests.support.worker MODULE…``.

The environment says the rest: ``DJANGO_SETTINGS_MODULE``, ``DATABASE_URL``, ``WORKER_SETTINGS`` (JSON, put into
``DJANGO_WORKFLOWS``), ``WORKER_OPTIONS`` (JSON, of ``WorkerOptions``), ``WORKER_SHIFT`` (the error of its wall clock in s).
It ends with the process that started it. SIGUSR1 prints the stacks of its threads.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import json
import logging
import os
import signal
import sys
from datetime import timedelta


def main(modules: list[str]) -> int:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    faulthandler.register(signal.SIGUSR1)
    import django
    from django.conf import settings

    django.setup()
    settings.DJANGO_WORKFLOWS = {**settings.DJANGO_WORKFLOWS, **json.loads(os.environ.get("WORKER_SETTINGS", "{}"))}
    logging.basicConfig(
        level=os.environ.get("WORKER_LOG", "WARNING"), format="%(process)d %(asctime)s %(name)s %(message)s"
    )
    for module in modules:
        importlib.import_module(module)
    if shift := float(os.environ.get("WORKER_SHIFT", "0")):
        _shift_wall_clock(shift)
    from django_workflows.workers.supervisor import Supervisor, WorkerOptions

    options = json.loads(os.environ.get("WORKER_OPTIONS", "{}"))
    if options.get("queues") is not None:
        options["queues"] = tuple(options["queues"])
    return Supervisor(WorkerOptions(**options)).run()


def _shift_wall_clock(seconds: float) -> None:
    """This process's clock is wrong by that much; the database's is not."""
    from django_workflows.store import database
    from django_workflows.values import clock

    clock.advance(timedelta(seconds=seconds))
    database.sql_now = lambda source="clock_timestamp()": source


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
