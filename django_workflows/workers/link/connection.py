"""The advancing connection: one per worker process, used by whichever thread has the turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, InterfaceError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ...notify.listener import is_direct
from ...store import database, faults
from ...store.database import Execute
from ...store.transition import Transition

if TYPE_CHECKING:
    from .prepared import PreparedStatements

#: What a turn relies on. Behind a pooler it is set in each transaction: the session belongs to others, too.
_SETTINGS = {
    # a cut network or a frozen process must not keep a run's lock; a turn must not wait long while it holds others
    "idle_in_transaction_session_timeout": "15s",
    "lock_timeout": "300ms",
    # short statements with arrays: compiling them costs more than they do
    "jit": "off",
    # a plan made while a table is empty, and kept, would scan it when it has grown
    "enable_seqscan": "off",
}
_SESSION_SETTINGS = {
    **_SETTINGS,
    "client_connection_check_interval": "500ms",
    # nor are they planned anew each time
    "plan_cache_mode": "force_generic_plan",
    # what was waited for has to be seen; a stricter level would end a turn instead, whatever the project's default is
    "default_transaction_isolation": "read committed",
}


def _set(settings: dict[str, str], *, local: bool) -> str:
    calls = [f"set_config('{name}', '{value}', {local})" for name, value in settings.items()]
    return f"SELECT {', '.join(calls)}"


_OF_THE_SESSION = (
    _set(_SESSION_SETTINGS, local=False),
    # payloads are compressed four times per step; lz4, where the server has it, does it in a tenth of the time
    "SELECT set_config(name, 'lz4', false) FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)",
)
_OF_THE_TRANSACTION = f"SET TRANSACTION ISOLATION LEVEL READ COMMITTED; {_set(_SETTINGS, local=True)}"

#: a cut network is noticed by the client, too, in well under a minute
_NETWORK = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}


class AdvancingConnection:
    """A Django connection of its own, lent to the calling thread for a turn, with prepared statements beside it.

    Whether the server's session is its own is found out on the connection itself. If so, settings are made once and
    statements are prepared; if not, as behind a pooler, settings are made in each transaction and nothing is prepared.
    """

    def __init__(self) -> None:
        self._alias = database.alias()
        self._wrapper: BaseDatabaseWrapper | None = None
        #: the server's session is ours alone
        self.is_direct = False
        #: it seemed so, and a prepared statement was not where we had left it
        self._refuted = False
        self._statements: PreparedStatements | None = None
        #: the driver's connection that has our session settings
        self._opened: Any = None
        self._offset = timedelta(0)
        self.is_postgresql = database.is_postgresql()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """``connections[alias]`` is this connection, in the calling thread, for the block."""
        wrapper = self._open()
        own = getattr(connections._connections, self._alias, None)  # type: ignore[attr-defined]
        connections[self._alias] = wrapper
        try:
            yield
        finally:
            if own is not None:
                connections[self._alias] = own
            else:
                del connections[self._alias]

    def _open(self) -> BaseDatabaseWrapper:
        if self._wrapper is None:
            wrapper = connections[self._alias].copy()
            if self.is_postgresql:
                options = {**_NETWORK, **wrapper.settings_dict["OPTIONS"]}
                # a pool would give it to a step later, with our settings; psycopg must not prepare what we do not
                options.update(pool=None, prepare_threshold=None)
                options.pop("isolation_level", None)
                wrapper.settings_dict["OPTIONS"] = options
                wrapper.execute_wrappers.append(self._with_settings)
            wrapper.inc_thread_sharing()
            self._wrapper = wrapper
        wrapper = self._wrapper
        if not self.usable:
            self.close()
            self._statements = None
            wrapper.ensure_connection()
            if self.is_postgresql:
                self._set_up(wrapper)
            self._opened = wrapper.connection
        return wrapper

    def _set_up(self, wrapper: BaseDatabaseWrapper) -> None:
        with wrapper.wrap_database_errors:
            self.is_direct = not self._refuted and is_direct(wrapper.connection)
        with wrapper.cursor() as cursor:
            for statement in _OF_THE_SESSION if self.is_direct else ():
                cursor.execute(statement)
        self._calibrate(wrapper)

    def _with_settings(self, execute: Any, text: str, values: Any, many: bool, context: dict[str, Any]) -> Any:
        """Around every statement that goes through Django: the first of a transaction is preceded by our settings."""
        wrapper = context["connection"]
        if not self.is_direct and wrapper.in_atomic_block:
            from psycopg.pq import TransactionStatus  # SQLite does without

            if wrapper.connection.info.transaction_status == TransactionStatus.IDLE:
                with wrapper.wrap_database_errors:
                    context["cursor"].cursor.execute(_OF_THE_TRANSACTION)
        return execute(text, values, many, context)

    def close(self) -> None:
        """After an error of the connection, and at the end."""
        if self._wrapper is not None:
            with suppress(Exception):
                self._wrapper.close()
            self._wrapper.connection = self._opened = None
            self._wrapper.in_atomic_block = False
            self._wrapper.savepoint_ids = []
            self._wrapper.needs_rollback = False

    def execute(self, text: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Run one statement on the open connection; prepared, where that is direct."""
        if self.is_direct:
            with self._doubted():
                return self._prepared().execute(text, values)
        self._require_usable()
        assert self._wrapper is not None
        if not self.is_postgresql or self._wrapper.in_atomic_block:
            return self._execute(self._wrapper, text, values)
        with transaction.atomic(using=self._alias):  # our settings need one
            return self._execute(self._wrapper, text, values)

    def _execute(self, wrapper: BaseDatabaseWrapper, text: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with wrapper.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def send(self, text: str, values: Sequence[Any]) -> Callable[[], list[tuple[Any, ...]]]:
        """Begin to run one statement in a transaction of its own. Call for the answer before using the connection again.

        Where statements cannot be prepared, it is run when the answer is called for.
        """
        if not self.is_direct:
            return partial(self.execute, text, values)
        with self._doubted():
            statements = self._prepared()
            statements.send(text, values)
        return partial(self._receive, statements)

    def _receive(self, statements: PreparedStatements) -> list[tuple[Any, ...]]:
        with self._doubted():
            return statements.receive()

    @contextmanager
    def _doubted(self) -> Iterator[None]:
        """A prepared statement that is missing, or is there already, shows that others use the session, too.

        From then on nothing is prepared: the error ends the turn, and its work is done again on a new connection.
        """
        try:
            yield
        except DatabaseError as error:
            if faults.classify(error).is_of_shared_session:
                self._refuted, self.is_direct = True, False
            raise

    def _prepared(self) -> PreparedStatements:
        self._require_usable()
        if self._statements is None:
            from .prepared import PreparedStatements  # needs psycopg, which SQLite does without

            assert self._wrapper is not None
            self._statements = PreparedStatements(self._wrapper.connection, self._wrapper.wrap_database_errors)
        return self._statements

    def _require_usable(self) -> None:
        if not self.usable:
            raise InterfaceError("The advancing connection was lost.")

    @property
    def execute_or_none(self) -> Execute | None:
        """``execute`` where hand-written SQL is understood; None: through the ORM."""
        return self.execute if self.is_postgresql else None

    @property
    def usable(self) -> bool:
        """Whether the last error was about a statement and not about the connection."""
        connection = None if self._wrapper is None else self._wrapper.connection
        if connection is None or connection is not self._opened:  # Django connects anew when it leaves ``atomic``
            return False
        return not getattr(connection, "closed", False)

    # --- the database's clock, without asking it -----------------------------------------------------------------

    def _calibrate(self, wrapper: BaseDatabaseWrapper) -> None:
        with wrapper.cursor() as cursor:
            for _ in range(3):
                cursor.execute(f"SELECT {database.sql_now()}")
                self.set_clock(database.aware(cursor.fetchone()[0]))

    def set_clock(self, now: datetime) -> None:
        """``now`` was the database's time a moment ago. The estimate is never ahead of it: it lags by the way back."""
        self._offset = now - datetime.fromtimestamp(time.monotonic(), tz=UTC)

    def set_clock_from(self, transition: Transition) -> None:
        """Every locked transition has read the database's clock a moment ago."""
        if transition.now > self.now():
            self.set_clock(transition.now)

    def now(self) -> datetime:
        """The database's time as this process knows it: by its monotonic clock since the last answer."""
        if not self.is_postgresql:
            return database.now()
        return datetime.fromtimestamp(time.monotonic(), tz=UTC) + self._offset


class BorrowedConnection(AdvancingConnection):
    """The calling thread's own connection, for an advancer that works inside a test's transaction.

    Each statement of a turn has a savepoint of its own, so that one that fails does not spoil the transaction around it.
    """

    @contextmanager
    def lent(self) -> Iterator[None]:
        connections[self._alias].ensure_connection()
        yield

    def execute(self, text: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with transaction.atomic(using=self._alias), connections[self._alias].cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    @property
    def execute_or_none(self) -> Execute | None:
        """``execute`` where hand-written SQL is understood; None: through the ORM."""
        return self.execute if self.is_postgresql else None

    @property
    def usable(self) -> bool:
        connection = connections[self._alias].connection
        return connection is not None and not getattr(connection, "closed", False)

    def close(self) -> None:
        """It is the calling thread's own, and stays open."""

    def now(self) -> datetime:
        return database.now()
