"""The pytest plugin that brings the database, named in ``addopts``.

It acts when it is imported: pytest-django reads the settings, and with them ``DATABASE_URL``, before any pytest hook of ours.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import psycopg

from tests.postgres import database_url

if os.environ.get("DATABASE_URL") == "sqlite":
    # A file for this run, and not memory: threads and worker processes share it. Found by them in the environment.
    _directory = tempfile.mkdtemp(prefix="dwf-sqlite-")
    atexit.register(shutil.rmtree, _directory, ignore_errors=True)
    os.environ["DATABASE_URL"] = f"sqlite:///{_directory}/db.sqlite3"

URL = database_url()


def pytest_report_header() -> str:
    if URL.startswith("sqlite"):
        return f"database: {URL}"
    with psycopg.connect(URL) as connection:
        row = connection.execute("SELECT version()").fetchone()
    return f"database: {row[0].split(' on ')[0] if row else '?'} ({URL.partition('?')[2] or connection.info.host})"
