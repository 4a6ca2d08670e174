"""`make demo`: an order is shipped although its worker was killed; where it is not, the demo says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

ROOT = Path(__file__).resolve().parent.parent.parent


def demo(url: str, code: str = "import example_project.demo as d; raise SystemExit(d.main())") -> tuple[int, str]:
    environment = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environment, "DATABASE_URL": url, "DEMO_ONCE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stdout


def assert_shipped(code: int, output: str) -> None:
    assert code == 0, output
    assert "kill -9" in output
    assert "its worker vanished" in output
    assert "Order 1 is shipped" in output
    assert "charged once" in output
    assert "'status': 'shipped'" in output


def test_the_order_is_shipped_on_sqlite(tmp_path: Path) -> None:
    assert_shipped(*demo(f"sqlite:///{tmp_path}/shop.sqlite3"))


@pytest.mark.slow
def test_the_order_is_shipped_on_postgresql() -> None:
    url = os.environ["DATABASE_URL"]
    if not url.startswith("postgresql"):
        pytest.skip("this run has no PostgreSQL")
    name = "workflows_demo"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            assert_shipped(*demo(psycopg.conninfo.make_conninfo(url, dbname=name)))
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_a_demo_that_takes_too_long_fails_and_ends_its_processes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.sqlite3"
    code, output = demo(url, "import example_project.demo as d; d.LIMIT = 0.0; raise SystemExit(d.main())")
    assert code == 1
    assert "The demo failed: It took more than" in output
    left = [p for p in Path("/proc").glob("[0-9]*/environ") if _mentions(p, url)] if Path("/proc/self").exists() else []
    assert left == []


def _mentions(path: Path, text: str) -> bool:
    try:
        return text.encode() in path.read_bytes()
    except OSError:
        return False  # it has ended, or belongs to another process
