"""What a connection can do is found out on it: behind a real PgBouncer in transaction mode everything runs and nothing stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection, connections, transaction

from django_workflows import api
from django_workflows.notify import listener
from django_workflows.store import database, faults
from django_workflows.workers.link import connection as link
from django_workflows.workers.link.connection import AdvancingConnection
from django_workflows.workers.link.doorbell import Doorbell
from tests.support.eventually import eventually
from tests.support.pgbouncer import ABSENT, PROGRAM, PgBouncer
from tests.support.processes import Workers, database_url
from tests.support.runs import types
from tests.workers import bodies

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=ABSENT)

FAST: dict[str, Any] = {"HEARTBEAT_INTERVAL": 0.5, "HEARTBEAT_TIMEOUT": 2.0, "POLL_INTERVAL": 0.2}
SETTINGS = ("lock_timeout", "idle_in_transaction_session_timeout", "enable_seqscan", "jit")


@pytest.fixture
def pgbouncer(transactional_db: None) -> Iterator[PgBouncer]:
    with PgBouncer(database_url()) as running:
        yield running


@pytest.fixture
def pooled(pgbouncer: PgBouncer, monkeypatch: pytest.MonkeyPatch) -> PgBouncer:
    """New connections of this process go through the pooler; the one that the test has stays as it is."""
    connection.ensure_connection()
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    monkeypatch.setitem(connection.settings_dict, "PORT", str(pgbouncer.port))
    return pgbouncer


@pytest.fixture
def advancing(pooled: PgBouncer) -> Iterator[AdvancingConnection]:
    advancing = AdvancingConnection()
    yield advancing
    advancing.close()


def _settings_of_all_sessions(pooler: PgBouncer) -> set[tuple[str, ...]]:
    """What clients that come next find set on the server's sessions, which are lent in turn."""
    asked = "SELECT " + ", ".join(f"current_setting('{name}')" for name in SETTINGS)
    with psycopg.connect(pooler.url, autocommit=True, prepare_threshold=None) as client:
        return {tuple(row) for _ in range(10) if (row := client.execute(asked).fetchone())}


class TestProof:
    def test_a_direct_connection_is_seen_to_be_direct(self, transactional_db: None) -> None:
        connection.ensure_connection()
        assert listener.is_direct(connection.connection)

    def test_one_through_the_pooler_is_not(self, pooled: PgBouncer) -> None:
        through = listener.listening_connection("default")
        try:
            assert not listener.is_direct(through)
        finally:
            through.close()


class TestAdvancingConnection:
    def test_settings_hold_in_each_transaction_and_in_no_other(
        self, pooled: PgBouncer, advancing: AdvancingConnection
    ) -> None:
        before = _settings_of_all_sessions(pooled)
        with advancing.lent():
            assert not advancing.is_direct
            for _ in range(6):
                with transaction.atomic():
                    assert advancing.execute("SELECT current_setting(%s)", ["lock_timeout"]) == [("300ms",)]
                with transaction.atomic(), database.connection().cursor() as cursor:  # as the ORM does
                    cursor.execute("SHOW idle_in_transaction_session_timeout")
                    assert cursor.fetchone() == ("15s",)
                assert advancing.execute("SELECT current_setting(%s)", ["lock_timeout"]) == [("300ms",)]
                assert advancing.send("SELECT current_setting(%s)", ["enable_seqscan"])() == [("off",)]
        assert _settings_of_all_sessions(pooled) == before

    def test_a_prepared_statement_that_is_gone_is_the_last_one(
        self, advancing: AdvancingConnection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A pooler that hides better than PgBouncer: the first failure says what the connection is."""
        monkeypatch.setattr(link, "is_direct", lambda connection: True)
        with advancing.lent(), pytest.raises(DatabaseError) as raised:
            for number in range(20):
                advancing.execute(f"SELECT %s::int + {number % 3}", [number])
        assert faults.classify(raised.value).is_of_shared_session
        advancing.close()
        with advancing.lent():
            for number in range(20):
                assert advancing.execute(f"SELECT %s::int + {number % 3}", [number]) == [(number + number % 3,)]

    def test_its_transactions_are_read_committed_whatever_the_project_says(
        self, pooled: PgBouncer, advancing: AdvancingConnection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A turn that has waited for a lock has to see what it waited for."""
        with monkeypatch.context() as patch:
            patch.setitem(connection.settings_dict["OPTIONS"], "isolation_level", psycopg.IsolationLevel.SERIALIZABLE)
            with advancing.lent(), transaction.atomic():
                asked = advancing.execute("SELECT current_setting(%s)", ["transaction_isolation"])
        assert asked == [("read committed",)]

    def test_so_are_those_of_a_direct_one(self, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
        advancing = AdvancingConnection()
        with monkeypatch.context() as patch:
            patch.setitem(
                connection.settings_dict["OPTIONS"], "options", "-c default_transaction_isolation=serializable"
            )
            patch.setitem(connection.settings_dict["OPTIONS"], "isolation_level", psycopg.IsolationLevel.SERIALIZABLE)
            with advancing.lent(), transaction.atomic():
                asked = advancing.execute("SELECT current_setting(%s)", ["transaction_isolation"])
                with database.connection().cursor() as cursor:
                    cursor.execute("SHOW transaction_isolation")
                    asked += [cursor.fetchone()]
        advancing.close()
        assert asked == [("read committed",)] * 2

    def test_it_is_never_one_of_djangos_pool(self, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
        """The pool would lend it to a step next, with our settings."""
        pytest.importorskip("psycopg_pool")
        advancing = AdvancingConnection()
        with monkeypatch.context() as patch:
            patch.setitem(connection.settings_dict["OPTIONS"], "pool", {"min_size": 1, "max_size": 1})
            with advancing.lent():
                pools = connections["default"]._connection_pools  # type: ignore[attr-defined]
                assert "default" not in pools
                assert advancing.execute("SELECT %s::int", [1]) == [(1,)]
        advancing.close()


class TestListening:
    def test_the_doorbell_leaves_nothing_on_sessions_of_others(self, pooled: PgBouncer) -> None:
        doorbell = Doorbell()
        doorbell.open()
        try:
            assert (doorbell.lock_trusted, doorbell.listening) == (False, False)
            assert not doorbell.keep_open()
            assert _channels(pooled) == set()
            assert _advisory_locks() == 0
        finally:
            doorbell.close()

    def test_the_listener_does_not_count_as_ready(self, pooled: PgBouncer, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those who wait would poll once a second, for a ring that never comes."""
        asked: list[bool] = []
        proof = listener.is_direct
        monkeypatch.setattr(listener, "is_direct", lambda c: asked.append(proof(c)) or asked[-1])
        waiting = listener.Listener("default")
        waiting.subscribe("key", lambda: None)
        try:
            eventually(lambda: asked == [False], "it has looked at its connection")
            assert not waiting.ready.is_set()
            assert _channels(pooled) == set()
        finally:
            waiting.stop()


def _channels(pooler: PgBouncer) -> set[str]:
    with psycopg.connect(pooler.url, autocommit=True, prepare_threshold=None) as client:
        return {row[0] for _ in range(10) for row in client.execute("SELECT pg_listening_channels()").fetchall()}


def _advisory_locks() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted")
        return int(cursor.fetchone()[0])


class TestWorkers:
    @pytest.mark.parametrize("listen_database", ["direct", None])
    def test_everything_runs(self, pgbouncer: PgBouncer, tmp_path: Path, listen_database: str | None) -> None:
        log = tmp_path / "log"
        workers = Workers(
            bodies.__name__,
            processes=2,
            settings={**FAST, "LISTEN_DATABASE": listen_database},
            url=pgbouncer.url,
            environment={"DIRECT_DATABASE_URL": database_url()},
            log=log,
        )
        with workers:
            assert {row.lock_trusted for row in workers.rows()} == {listen_database is not None}
            runs = bodies.adding.start_many([((10,), {})] * 10)
            fanning, streaming, ordering = (
                bodies.fanning.start(30),
                bodies.streaming.start(5),
                bodies.ordering.start("o"),
            )
            hooked = bodies.hooked.start("pooled", 3)
            eventually(lambda: "hook_created" in types(hooked.id), "the hook is there")
            for number in range(3):
                api.resume_hook("pooled", number)
            assert [run.result(30) for run in runs] == [10] * 10
            assert fanning.result(30) == sum(range(30)) + 30
            assert (streaming.result(30), hooked.result(30)) == (streaming.id, [0, 1, 2])
            assert ordering.result(30)
        said = log.read_text()
        assert "prepared statement" not in said
        assert "away" not in said
