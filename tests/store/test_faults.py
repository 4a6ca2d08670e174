"""Each kind of error of the store, raised by a real database where one can be had, and what the classifier says of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.db.utils import DatabaseErrorWrapper

from django_workflows.exceptions import CorruptedEventLogError, PayloadTooLargeError, SerializationError
from django_workflows.models import Run
from django_workflows.store.faults import DATABASE_ERRORS, Fault, Kind, classify
from tests.support.runs import started_run
from tests.support.sessions import second_connection

pytestmark = pytest.mark.django_db(transaction=True)


def _fault_of(act: Callable[[], object]) -> Fault:
    with pytest.raises(DATABASE_ERRORS) as caught:
        act()
    return classify(caught.value)


def _execute(*statements: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _raises(state: str) -> str:
    return f"DO $$ BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '{state}'; END $$"


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("08006", Kind.GONE),
        ("57P01", Kind.GONE),
        ("57P02", Kind.GONE),
        ("57P03", Kind.GONE),
        ("57P05", Kind.GONE),
        ("25P03", Kind.GONE),
        ("25P04", Kind.GONE),
        ("25006", Kind.REFUSES),
        ("40001", Kind.REFUSES),
        ("40P01", Kind.REFUSES),
        ("42501", Kind.REFUSES),
        ("42703", Kind.REFUSES),
        ("42P01", Kind.REFUSES),
        ("42P05", Kind.REFUSES),
        ("26000", Kind.REFUSES),
        ("0A000", Kind.REFUSES),
        ("53100", Kind.REFUSES),
        ("53200", Kind.REFUSES),
        ("53300", Kind.REFUSES),
        ("55P03", Kind.REFUSES),
        ("55006", Kind.REFUSES),
        ("57014", Kind.REFUSES),
        ("58030", Kind.REFUSES),
        ("P0001", Kind.REFUSES),
        ("XX000", Kind.REFUSES),
        ("22003", Kind.VALUE),
        ("22021", Kind.VALUE),
        ("54000", Kind.VALUE),
        ("23505", Kind.CONTRADICTS),
        ("23514", Kind.CONTRADICTS),
        ("21000", Kind.OURS),
    ],
)
def test_a_state_of_postgresql_has_its_kind(state: str, kind: Kind) -> None:
    fault = _fault_of(lambda: _execute(_raises(state)))
    assert (fault.kind, fault.code) == (kind, state)
    assert "\n" not in fault.sentence  # the server adds a line of CONTEXT


@pytest.mark.parametrize(
    ("statements", "kind", "sentence"),
    [
        (["SET TRANSACTION READ ONLY", "CREATE TABLE t ()"], Kind.REFUSES, "the server is read-only"),
        (["SELECT missing FROM django_workflows_run"], Kind.REFUSES, 'column "missing" does not exist'),
        (["SELECT 1 FROM missing"], Kind.REFUSES, 'relation "missing" does not exist'),
        (["SET LOCAL statement_timeout = '20ms'", "SELECT pg_sleep(5)"], Kind.REFUSES, "took longer than allowed"),
        (["SELECT 2147483647::int + 1"], Kind.VALUE, "integer out of range"),
        (["SELECT pg_terminate_backend(pg_backend_pid())"], Kind.GONE, "the server is shutting down"),
        (["EXECUTE missing"], Kind.REFUSES, "not known on this connection"),
    ],
)
def test_what_the_server_does_is_said_in_a_sentence(statements: list[str], kind: Kind, sentence: str) -> None:
    fault = _fault_of(lambda: _execute(*statements))
    assert fault.kind is kind
    assert sentence in fault.sentence


def test_a_lock_that_is_not_released_in_time_is_a_refusal() -> None:
    run_id = started_run()
    lock = f"SELECT 1 FROM django_workflows_run WHERE id = '{run_id}' FOR UPDATE"
    with second_connection() as other, other.transaction():
        other.execute(lock)
        fault = _fault_of(lambda: _execute("SET LOCAL lock_timeout = '20ms'", lock))
    assert fault.kind is Kind.REFUSES
    assert fault.is_lock_timeout
    assert not fault.is_conflict


def test_a_connection_that_is_closed_on_this_side_is_gone() -> None:
    connection.ensure_connection()
    connection.connection.close()
    fault = _fault_of(lambda: connection.cursor().execute("SELECT 1"))
    connection.close()
    assert fault.kind is Kind.GONE


def test_what_user_code_wraps_is_still_what_it_is() -> None:
    def act() -> None:
        try:
            _execute(_raises("53100"))
        except DatabaseError as error:
            raise RuntimeError("wrapped by user code") from error

    with pytest.raises(RuntimeError) as caught:
        act()
    assert classify(caught.value).kind is Kind.REFUSES


@pytest.mark.sqlite
def test_two_rows_with_one_key_contradict() -> None:
    run_id = started_run()
    row = Run.objects.get(pk=run_id)
    fault = _fault_of(lambda: Run.objects.bulk_create([row]))
    assert fault.kind is Kind.CONTRADICTS


def _sqlite_error(*statements: str, path: str = ":memory:") -> Fault:
    """What Django makes of SQLite's refusal of the last of these statements."""
    from django.db.backends.sqlite3.base import DatabaseWrapper

    opened = sqlite3.connect(path, timeout=0.01, uri=True)
    try:
        *before, last = statements
        for statement in before:
            opened.execute(statement)
        with DatabaseErrorWrapper(DatabaseWrapper({"OPTIONS": {}})):
            opened.execute(last)
    except DATABASE_ERRORS as error:
        return classify(error)
    finally:
        opened.close()
    raise AssertionError("SQLite took it")


def test_sqlite_says_what_it_refuses(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = str(tmp_path_factory.mktemp("faults") / "db.sqlite3")
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
    writer.execute("BEGIN IMMEDIATE")
    busy = _sqlite_error("BEGIN IMMEDIATE", path=path)
    writer.close()
    assert (busy.kind, busy.code) == (Kind.REFUSES, "SQLITE_BUSY")
    read_only = _sqlite_error("INSERT INTO t VALUES (1, 'x')", path=f"file:{path}?mode=ro")
    assert (read_only.kind, read_only.sentence) == (Kind.REFUSES, "the database file is read-only")
    full = _sqlite_error("CREATE TABLE t (a)", "PRAGMA max_page_count = 2", "INSERT INTO t VALUES (zeroblob(100000))")
    assert (full.kind, full.code) == (Kind.REFUSES, "SQLITE_FULL")
    assert "no such table: missing" in _sqlite_error("SELECT * FROM missing").sentence
    assert _sqlite_error("SELECT zeroblob(3000000000)").kind is Kind.VALUE
    twice = _sqlite_error("CREATE TABLE t (a UNIQUE)", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1)")
    assert twice.kind is Kind.CONTRADICTS


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OperationalError("connection refused"), Kind.GONE),
        (InterfaceError("connection already closed"), Kind.GONE),
        (ConnectionResetError(), Kind.GONE),
        (ValueError("A string literal cannot contain NUL (0x00) characters."), Kind.VALUE),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), Kind.VALUE),
        (PayloadTooLargeError(2, 1), Kind.VALUE),
        (SerializationError("no"), Kind.VALUE),
        (CorruptedEventLogError("a gap"), Kind.CONTRADICTS),
        (ImproperlyConfigured("no keys"), Kind.CONTRADICTS),
        (ValueError("a bug"), Kind.OURS),
        (TimeoutError(), Kind.OURS),
        (DatabaseError("of a backend that says nothing"), Kind.OURS),
    ],
)
def test_what_only_the_client_noticed_has_its_kind(error: Exception, kind: Kind) -> None:
    assert classify(error).kind is kind


def test_an_error_that_cannot_be_printed_is_classified() -> None:
    class MuteError(OperationalError):
        def __str__(self) -> str:
            raise RuntimeError

    fault = classify(MuteError())
    assert fault == Fault(Kind.GONE, "no connection to the server: MuteError")


def test_a_token_that_no_key_fits_contradicts() -> None:
    fernet = pytest.importorskip("cryptography.fernet")
    with pytest.raises(fernet.InvalidToken) as caught:
        fernet.Fernet(fernet.Fernet.generate_key()).decrypt(b"x")
    assert classify(caught.value).kind is Kind.CONTRADICTS
