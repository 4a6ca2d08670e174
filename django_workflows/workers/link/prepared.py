"""Prepared statements straight through libpq: what a turn writes, without psycopg's adaptation of some forty arrays.

Parameters are arrays of text, numbers, booleans and times, written as PostgreSQL's array literals; each statement's text
casts them (``%s::text[]``). Used only on the worker's own, direct connection.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg
from django.db.utils import DatabaseErrorWrapper
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus

_BETWEEN = "\0"


def array(values: Sequence[Any]) -> bytes:
    """A PostgreSQL array literal: ``[1, None, 'a"b']`` -> ``{1,NULL,"a\\"b"}``. Columns of one type go at C's speed."""
    kind = type(values[0]) if values else None
    if kind is int:
        literal = _numbers(values)
    elif kind is datetime:
        literal = _moments(values)
    elif kind is not None and issubclass(kind, str):
        literal = _texts(values)
    else:
        literal = None
    if literal is None:
        literal = ",".join([_element(value) for value in values])
    return ("{" + literal + "}").encode()


def _numbers(values: Sequence[Any]) -> str | None:
    return None if None in values else ",".join(map(str, values))


def _moments(values: Sequence[Any]) -> str | None:
    if None in values:
        return None
    texts = {value: value.isoformat() for value in set(values)}  # what one run does has one time
    return '"' + '","'.join([texts[value] for value in values]) + '"'


def _texts(values: Sequence[Any]) -> str | None:
    if None in values:
        return None
    joined = _BETWEEN.join(values)
    if joined.count(_BETWEEN) != len(values) - 1:
        raise ValueError("A text with NUL cannot be stored.")
    if "\\" in joined:
        joined = joined.replace("\\", "\\\\")
    if '"' in joined:
        joined = joined.replace('"', '\\"')
    return '"' + joined.replace(_BETWEEN, '","') + '"'


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        if "\\" in value or '"' in value:
            value = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{value}"'
    if value is True:
        return "t"
    if value is False:
        return "f"
    if isinstance(value, datetime):
        return f'"{value.isoformat()}"'
    return str(value)


def to_text(value: Any) -> bytes | None:
    """One parameter: an array for a list, otherwise text."""
    if value is None:
        return None
    if isinstance(value, list):
        return array(value)
    if isinstance(value, timedelta):
        return f"{value // timedelta(microseconds=1)} microseconds".encode()
    if isinstance(value, datetime):
        return value.isoformat().encode()
    return str(value).encode()


class _RawLoaders:
    """psycopg's own ways of reading, in C where its binary package is there; Django's reader of times is in Python."""

    def __init__(self, connection: Any) -> None:
        self.connection, self.adapters = connection, psycopg.adapters


class PreparedStatements:
    """The statements that one connection has prepared, by their text."""

    def __init__(self, connection: Any, errors: DatabaseErrorWrapper) -> None:
        self._connection = connection
        self._errors = errors
        self._loader = Transformer(_RawLoaders(connection))
        self._names: dict[str, bytes] = {}

    def execute(self, text: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Run a statement, preparing it the first time, in the open transaction where there is one.

        Raises:
            django.db.DatabaseError: as Django's own cursors do.
        """
        libpq = self._connection.pgconn
        with self._errors:  # libpq raises by itself when there is no connection any more
            if not self._connection.autocommit and libpq.transaction_status == TransactionStatus.IDLE:
                self._check(libpq.exec_(b"BEGIN"))
            name = self._names.get(text) or self._prepare(text)
            return self._rows(libpq.exec_prepared(name, [to_text(value) for value in values]))

    def send(self, text: str, values: Sequence[Any]) -> None:
        """Begin to run a statement outside of a transaction; the next call on this connection is :meth:`receive`."""
        with self._errors:
            name = self._names.get(text) or self._prepare(text)
            self._connection.pgconn.send_query_prepared(name, [to_text(value) for value in values])
            self._connection.pgconn.flush()

    def receive(self) -> list[tuple[Any, ...]]:
        """Wait for the answer to what was sent. Raises as :meth:`execute` does."""
        libpq = self._connection.pgconn
        with self._errors:
            ready = select.poll()
            # a large statement leaves in pieces, and the server may have something to say meanwhile
            while libpq.flush():
                ready.register(libpq.socket, select.POLLIN | select.POLLOUT)
                if ready.poll()[0][1] & select.POLLIN:
                    libpq.consume_input()
            ready.register(libpq.socket, select.POLLIN)
            while libpq.is_busy():
                ready.poll()
                libpq.consume_input()
            result = libpq.get_result()
            while libpq.get_result() is not None:
                pass
            return self._rows(result)

    def _rows(self, result: Any) -> list[tuple[Any, ...]]:
        self._check(result)
        if not result.ntuples:
            return []
        self._loader.set_pgresult(result)
        return self._loader.load_rows(0, result.ntuples, tuple)

    def _prepare(self, text: str) -> bytes:
        name = f"dwf_{len(self._names)}".encode()
        first, *others = text.split("%s")
        numbered = first + "".join(f"${i}{part}" for i, part in enumerate(others, 1))
        self._check(self._connection.pgconn.prepare(name, numbered.encode()))
        self._names[text] = name
        return name

    def _check(self, result: Any) -> None:
        if result is not None and result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            return
        if self._connection.pgconn.status != ConnStatus.OK:
            raise psycopg.OperationalError(self._connection.pgconn.get_error_message())
        raise psycopg.errors.error_from_result(result, encoding="utf-8")
