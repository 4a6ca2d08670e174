"""The one classifier of what goes wrong with the store: by what an error *is*, never by the place where it was raised.

PostgreSQL says it with an SQLSTATE, SQLite with a result code; the client alone says that no answer came. Django wraps
these errors and so do we, therefore the first of the chain of causes that says what it is decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError

from ..exceptions import CorruptedEventLogError, PayloadTooLargeError, SerializationError


class Kind(StrEnum):
    """What is to be done about an error of the store."""

    GONE = "gone"  # the connection: connect anew, then do the same again; the last commit may have succeeded
    REFUSES = "refuses"  # the server answers and refuses for now: do the same again later, on the same connection
    VALUE = "value"  # this value can never be stored
    CONTRADICTS = "contradicts"  # the rows, or the log, contradict themselves or what is to be written
    OURS = "ours"  # anything else: a bug, or an error that is not of the store


@dataclass(frozen=True, slots=True)
class Fault:
    """``sentence``: what is the case, for people, to be put after a colon. ``code``: SQLSTATE, or SQLite's name of it."""

    kind: Kind
    sentence: str
    code: str = ""

    @property
    def will_pass(self) -> bool:
        """Whether the same can succeed later, with nothing changed on our side."""
        return self.kind in (Kind.GONE, Kind.REFUSES)

    @property
    def needs_reconnect(self) -> bool:
        """Whether another connection may answer otherwise: this one has ended, was opened while the server was read-only,
        or to a server that has become a standby, or its prepared statements do not fit any more."""
        return self.kind is Kind.GONE or self.code == "25006" or self.is_stale_statement

    @property
    def is_conflict(self) -> bool:
        """Whether the transaction was ended to break a deadlock or a serialization conflict: done again, it succeeds."""
        return self.code in _CONFLICTS

    @property
    def is_lock_timeout(self) -> bool:
        """Whether a lock was not had within ``lock_timeout``: another transaction takes long."""
        return self.code == "55P03"

    @property
    def is_stale_statement(self) -> bool:
        """Whether a prepared statement is not there, is there already, or was planned for another table: prepare anew."""
        return self.code in _STALE_STATEMENTS

    @property
    def is_of_shared_session(self) -> bool:
        """Whether a prepared statement is not where it was left: a pooler lends the session to others between two uses."""
        return self.code in _SHARED_SESSION


#: what ``except`` names to catch every error of the database; Django's InterfaceError is no DatabaseError
DATABASE_ERRORS = (DatabaseError, InterfaceError)

_CONFLICTS = frozenset({"40001", "40P01"})
_SHARED_SESSION = frozenset({"26000", "42P05"})
_STALE_STATEMENTS = _SHARED_SESSION | {"0A000"}

_GONE_STATES = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25P04"})
_GONE_CLASSES = frozenset({"08", "28", "3D"})  # 28, 3D: it was not even opened
_VALUE_CLASSES = frozenset({"22", "54"})
_CONTRADICTING_CLASSES = frozenset({"23", "44"})
_REFUSING_CLASSES = frozenset(
    {"0A", "25", "26", "2D", "3F", "40", "42", "53", "55", "57", "58", "72", "F0", "HV", "P0", "XX"}
)

#: what a state means; a colon at the end: the server's own words say which table, or why
_STATES = {
    "0A000": "a table was altered since a statement was prepared",
    "25006": "the server is read-only",
    "25P03": "the server ended a transaction that was idle for too long",
    "26000": "a prepared statement is not known on this connection",
    "40001": "the transaction conflicts with another one",
    "40P01": "the transaction was ended to break a deadlock",
    "42501": "a right is missing:",
    "42703": "a column is missing:",
    "42P01": "a table is missing:",
    "42P05": "a prepared statement of this name is there already",
    "53100": "no space is left on the server's disk",
    "53200": "the server is out of memory",
    "53300": "the server takes no more connections",
    "55P03": "a lock was not released in time",
    "57014": "a statement was cancelled: it took longer than allowed, or an operator ended it",
    "57P01": "the server is shutting down, or an operator ended the connection",
    "57P02": "the server has crashed and restarts",
    "57P03": "the server is starting up or shutting down",
}

_SQLITE_REFUSALS = {
    "BUSY": "another process is writing to the database file",
    "LOCKED": "another connection holds a table of the database file",
    "READONLY": "the database file is read-only",
    "FULL": "no space is left on the disk of the database file",
    "IOERR": "the disk of the database file does not answer:",
    "CANTOPEN": "the database file cannot be opened",
    "PERM": "a right to the database file is missing",
    "AUTH": "a right is missing:",
    "NOMEM": "the process is out of memory",
    "INTERRUPT": "a statement was interrupted",
    "ABORT": "a statement was interrupted",
    "SCHEMA": "a table was altered since a statement was prepared",
    "PROTOCOL": "the lock of the database file was not had in time",
    "CORRUPT": "the database file is damaged",
    "NOTADB": "the database file is damaged",
    "ERROR": "a statement was refused:",  # a table or column is missing: the file has another schema
}
_SQLITE_VALUES = frozenset({"TOOBIG", "MISMATCH", "RANGE"})


def classify(error: BaseException) -> Fault:
    """What the error is. Never raises, and answers ``Kind.OURS`` about errors that have nothing to do with the store."""
    for cause in _causes(error):
        if (fault := _by_answer(cause)) is not None:
            return fault
    for cause in _causes(error):
        if (fault := _by_class(cause)) is not None:
            return fault
    return Fault(Kind.OURS, f"internal error: {type(error).__name__}: {_first_line(error)}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__


def _by_answer(error: BaseException) -> Fault | None:
    """What the database itself has said."""
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str) and len(state) == 5:
        return _of_state(state, error)
    name = getattr(error, "sqlite_errorname", None)
    if isinstance(name, str):
        return _of_sqlite(name, error)
    return None


def _of_state(state: str, error: BaseException) -> Fault:
    group = state[:2]
    if state in _GONE_STATES or group in _GONE_CLASSES:
        return Fault(Kind.GONE, _said(_STATES.get(state, "no connection to the server:"), error), state)
    if group in _REFUSING_CLASSES:
        return Fault(Kind.REFUSES, _said(_STATES.get(state, "the server refuses:"), error), state)
    if group in _VALUE_CLASSES:
        return Fault(Kind.VALUE, _said("the value cannot be stored:", error), state)
    if group in _CONTRADICTING_CLASSES:
        return Fault(Kind.CONTRADICTS, _said("the rows contradict what is to be written:", error), state)
    return Fault(Kind.OURS, _said(f"the server refuses a statement (SQLSTATE {state}):", error), state)


def _of_sqlite(name: str, error: BaseException) -> Fault:
    group = name.removeprefix("SQLITE_").partition("_")[0]  # SQLITE_IOERR_WRITE and its like
    if group == "CONSTRAINT":
        return Fault(Kind.CONTRADICTS, _said("the rows contradict what is to be written:", error), name)
    if group in _SQLITE_VALUES:
        return Fault(Kind.VALUE, _said("the value cannot be stored:", error), name)
    if group in _SQLITE_REFUSALS:
        return Fault(Kind.REFUSES, _said(_SQLITE_REFUSALS[group], error), name)
    return Fault(Kind.OURS, _said(f"SQLite refuses a statement ({name}):", error), name)


def _by_class(error: BaseException) -> Fault | None:
    """Where the database has said nothing: the client noticed it."""
    match error:
        case CorruptedEventLogError():
            return Fault(Kind.CONTRADICTS, f"the log is damaged: {_first_line(error)}")
        case PayloadTooLargeError() | SerializationError() | UnicodeEncodeError() | OverflowError() | DataError():
            return Fault(Kind.VALUE, _said("the value cannot be stored:", error))
        case IntegrityError():
            return Fault(Kind.CONTRADICTS, _said("the rows contradict what is to be written:", error))
        case ImproperlyConfigured() | UnicodeDecodeError():
            return Fault(Kind.CONTRADICTS, _said("a payload cannot be read:", error))
        case OperationalError() | InterfaceError() | ConnectionError():
            return Fault(Kind.GONE, _said("no connection to the server:", error))
        case ValueError() if "NUL" in str(error):
            return Fault(Kind.VALUE, _said("the value cannot be stored:", error))
    if type(error).__name__ == "InvalidToken":  # of the optional package `cryptography`; it says nothing itself
        return Fault(Kind.CONTRADICTS, "a payload cannot be decrypted: none of ENCRYPTION_KEYS fits")
    return None


def _said(sentence: str, error: BaseException) -> str:
    return f"{sentence} {_first_line(error)}" if sentence.endswith(":") else sentence


def _first_line(error: BaseException) -> str:
    """The error's own words; a server adds lines of DETAIL and CONTEXT to them."""
    try:
        text = str(error).strip()
    except Exception:  # noqa: BLE001 - a stranger's __str__
        text = ""
    return text.partition("\n")[0] or type(error).__name__
