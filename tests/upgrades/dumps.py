"""Databases as text and back: written by ``make_dump``, loaded by the tests with psycopg and sqlite3 alone."""

from __future__ import annotations

import gzip
import os
import re
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

#: what is dumped, in an order in which foreign keys find what they point to
TABLES = [
    "django_migrations",
    "django_content_type",
    "auth_permission",
    "django_workflows_worker",
    "django_workflows_run",
    "django_workflows_event",
    "django_workflows_step",
    "django_workflows_wait",
    "django_workflows_hook",
    "django_workflows_stream",
    "django_workflows_streamchunk",
    "django_workflows_webhookcall",
    "django_workflows_outbox",
]
#: of the dumps whose payloads are encrypted
KEY = "LqlwDcuYU5SyUg7pQQREbHjH0ecLTzKKP25z1mJ2dGk="

_LOG = "SELECT run_id, sequence, type, correlation_id, data FROM django_workflows_event"
_COPY = re.compile(r"COPY .* FROM stdin;\n")
_END_OF_COPY = "\\.\n"


def read(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode()


def write(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode(), mtime=0))  # the same text makes the same file


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@contextmanager
def fresh_postgres(server: str) -> Iterator[str]:
    """The URL of a new, empty database on the server of this URL. It is dropped at the end."""
    name = f"upgrades_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        # The order of text is the one that every server knows; the dump says nothing about it.
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    try:
        yield _url(server, name)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _url(server: str, name: str) -> str:
    parts = {key: str(value) for key, value in conninfo_to_dict(server).items() if value is not None}
    parts.pop("dbname", None)
    user, password = quote(parts.pop("user", "")), parts.pop("password", None)
    login = user + (f":{quote(password)}" if password else "")
    return f"postgresql://{login}@/{name}?{urlencode(parts)}"


def dump_postgres(url: str, schema: str) -> str:
    """The rows of all tables as COPY blocks behind ``schema``, and the sequences where they are."""
    blocks = [schema]
    with psycopg.connect(url, client_encoding="utf-8") as connection:
        for table in TABLES:
            columns = [
                row[0]
                for row in connection.execute(
                    "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
                    " ORDER BY attnum",
                    [table],
                )
            ]
            names = ", ".join(f'"{column}"' for column in columns)
            by = '"run_id", "sequence"' if table == "django_workflows_event" else '"id"'
            with connection.cursor().copy(f"COPY (SELECT {names} FROM {table} ORDER BY {by}) TO STDOUT") as copy:
                rows = b"".join(bytes(part) for part in copy).decode()
            blocks.append(f"COPY {table} ({names}) FROM stdin;\n{rows}{_END_OF_COPY}")
        for table in TABLES:
            row = connection.execute(
                "SELECT pg_get_serial_sequence(%(table)s, 'id') WHERE EXISTS (SELECT FROM information_schema.columns"
                " WHERE table_name = %(table)s AND column_name = 'id' AND is_identity = 'YES')",
                {"table": table},
            ).fetchone()
            if row is not None:
                last: Any = connection.execute(f"SELECT coalesce(max(id), 0) + 1 FROM {table}").fetchone()
                blocks.append(f"SELECT setval('{row[0]}', {last[0]}, false);\n")
    return "\n".join(blocks)


def load_postgres(url: str, text: str) -> None:
    with psycopg.connect(url, client_encoding="utf-8") as connection:
        for statement, rows in _parts(text):
            if rows is None:
                connection.execute(statement.encode())
            else:
                with connection.cursor().copy(statement.removesuffix(";\n").encode()) as copy:
                    copy.write(rows)


def _parts(text: str) -> Iterator[tuple[str, str | None]]:
    """(statements, None), and (COPY statement, its rows)."""
    rest = text
    while found := _COPY.search(rest):
        if before := rest[: found.start()].strip():
            yield before, None
        if rest.startswith(_END_OF_COPY, found.end()):
            rows, rest = "", rest[found.end() + len(_END_OF_COPY) :]
        else:
            rows, _, rest = rest[found.end() :].partition("\n" + _END_OF_COPY)
            rows += "\n"
        yield found.group(), rows
    if rest.strip():
        yield rest, None


# --- SQLite ----------------------------------------------------------------------------------------------------------


@contextmanager
def fresh_sqlite(server: str) -> Iterator[str]:
    """The URL of a database file that does not exist yet. ``server`` is not asked; the directory is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="dwf-upgrades-") as directory:
        yield f"sqlite:///{directory}/db.sqlite3"


def dump_sqlite(url: str, schema: str) -> str:
    """As ``iterdump`` has it, without the tables that are of no interest; it brings its schema itself."""
    with closing(sqlite3.connect(_path(url))) as connection:
        return "\n".join(connection.iterdump()) + "\n"


def load_sqlite(url: str, text: str) -> None:
    with closing(sqlite3.connect(_path(url))) as connection:
        connection.executescript(text)


def _path(url: str) -> str:
    return url.removeprefix("sqlite:///")


# --- either ----------------------------------------------------------------------------------------------------------


class Engine:
    """One kind of database: how to make one anew, dump it, load it, and read its log past all of our code."""

    def __init__(self, name: str) -> None:
        self.name = name
        postgres = name == "postgres"
        self.fresh = fresh_postgres if postgres else fresh_sqlite
        self.dump = dump_postgres if postgres else dump_sqlite
        self.load = load_postgres if postgres else load_sqlite

    def execute(self, url: str, *statements: str) -> None:
        if self.name == "postgres":
            with psycopg.connect(url) as connection:
                for statement in statements:
                    connection.execute(statement.encode())
        else:
            with closing(sqlite3.connect(_path(url), timeout=20)) as database, database:
                for statement in statements:
                    database.execute(statement)

    def log(self, url: str) -> set[tuple[Any, ...]]:
        """The events as the database holds them."""
        if self.name == "postgres":
            with psycopg.connect(url) as connection:
                return set(connection.execute(_LOG).fetchall())
        with closing(sqlite3.connect(_path(url))) as database:
            return set(database.execute(_LOG).fetchall())


POSTGRES, SQLITE = Engine("postgres"), Engine("sqlite")


def environment(url: str, *, encrypted: bool, **more: str) -> dict[str, str]:
    """Of a process that uses the database of this URL."""
    given = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.upgrades.settings", "DATABASE_URL": url, **more}
    given.pop("UPGRADES_KEY", None)
    return {**given, "UPGRADES_KEY": KEY} if encrypted else given
