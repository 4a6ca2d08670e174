"""The suite runs on the database that it reports."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from tests.postgres import Server
from tests.pytest_postgres import URL

on_sqlite = URL.startswith("sqlite")


def eventually(condition: Callable[[], bool], *, seconds: float = 30) -> bool:
    """Whether ``condition`` comes true; the bound only ends a test that has failed anyway."""
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return met


@pytest.mark.skipif(on_sqlite, reason="asked for SQLite")
class TestPostgreSQL:
    @pytest.mark.django_db
    def test_is_what_the_tests_run_on(self) -> None:
        assert connection.vendor == "postgresql"
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_database()")
            assert cursor.fetchone()[0].startswith("test_")

    def test_comes_back_with_its_data_after_a_stop_and_after_a_crash(self) -> None:
        with Server(options={"work_mem": "5MB"}) as server:
            with psycopg.connect(server.url) as session:
                session.execute("CREATE TABLE kept AS SELECT 1")
            for immediate in (False, True):
                server.stop(immediate=immediate)
                with pytest.raises(psycopg.OperationalError):
                    psycopg.connect(server.url)
                server.start()
            with psycopg.connect(server.url) as session:
                assert session.execute("SELECT * FROM kept").fetchall() == [(1,)]
                assert session.execute("SHOW work_mem").fetchone() == ("5MB",)
                assert session.execute("SHOW fsync").fetchone() == ("off",)
        assert not server.running
        assert not server.directory.exists()

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has died")
    def test_dies_with_the_process_that_started_it(self) -> None:
        program = textwrap.dedent("""
            import time
            from tests.postgres import Server
            server = Server(durable=True)
            print(server.url, flush=True)
            time.sleep(600)
        """)
        command = [sys.executable, "-c", program]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=settings.BASE_DIR, text=True) as owner:
            assert owner.stdout is not None
            url = owner.stdout.readline().strip()
            session = psycopg.connect(url, autocommit=True)
            assert session.execute("SHOW fsync").fetchone() == ("on",)
            owner.send_signal(signal.SIGKILL)

        def gone() -> bool:
            try:
                session.execute("SELECT 1")
            except psycopg.OperationalError:
                return True
            return False

        assert eventually(gone)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        shutil.rmtree(url.partition("host=")[2], ignore_errors=True)  # another session may have swept it


@pytest.mark.sqlite
@pytest.mark.skipif(not on_sqlite, reason="asked for PostgreSQL")
@pytest.mark.django_db(transaction=True)
class TestSQLite:
    def test_is_a_file_that_threads_and_processes_share(self) -> None:
        assert connection.vendor == "sqlite"
        assert Path(connection.settings_dict["NAME"]).is_file()

    def test_waits_its_turn_instead_of_failing(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode")
            assert cursor.fetchone() == ("wal",)
        assert connection.transaction_mode == "IMMEDIATE"  # type: ignore[attr-defined]


def test_importing_the_settings_starts_nothing() -> None:
    program = "import tests.settings, sys; sys.exit('tests.postgres' in sys.modules or 'django.db' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    subprocess.run([sys.executable, "-c", program], cwd=settings.BASE_DIR, env=environment, check=True)
