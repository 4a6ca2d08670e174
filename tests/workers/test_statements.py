"""Statements that are sent, and answered later, on the worker's own session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import DataError, OperationalError, connection

from django_workflows.workers.link import connection as link
from django_workflows.workers.link.connection import AdvancingConnection


@pytest.fixture(params=[True, False], ids=["prepared", "through Django"])
def advancing(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[AdvancingConnection]:
    if not request.param:
        request.getfixturevalue("monkeypatch").setattr(link, "is_direct", lambda connection: False)
    advancing = AdvancingConnection()
    with advancing.lent():
        yield advancing
    advancing.close()


def test_what_is_sent_is_answered_later(advancing: AdvancingConnection) -> None:
    answer = advancing.send("SELECT %s::int + 1", [1])
    assert answer() == [(2,)]
    assert advancing.execute("SELECT %s::text", ["next"]) == [("next",)]


def test_a_statement_larger_than_every_buffer_between_here_and_the_server(advancing: AdvancingConnection) -> None:
    """It is sent in pieces: a client that only waited for the answer would wait indefinitely."""
    texts = ["x" * 1_000_000] * 12
    answer = advancing.send("SELECT length(given) FROM unnest(%s::text[]) given", [texts])
    assert answer() == [(1_000_000,)] * 12


def test_an_error_is_raised_by_the_answer_and_spoils_nothing(advancing: AdvancingConnection) -> None:
    answer = advancing.send("SELECT 1 / %s::int", [0])
    with pytest.raises(DataError, match="division by zero"):
        answer()
    assert advancing.usable
    assert advancing.send("SELECT %s::int", [3])() == [(3,)]


def test_a_connection_that_breaks_while_the_server_is_busy_is_noticed(advancing: AdvancingConnection) -> None:
    ((pid,),) = advancing.execute("SELECT pg_backend_pid() WHERE %s::bool", [True])
    answer = advancing.send("SELECT pg_sleep(60) WHERE %s::bool", [True]) if advancing.is_direct else None
    _end_session(pid)
    with pytest.raises(OperationalError):
        if answer is None:
            advancing.execute("SELECT %s::int", [1])
        else:
            answer()
    assert not advancing.usable


def _end_session(pid: int) -> None:
    fresh = connection.copy()
    fresh.inc_thread_sharing()
    try:
        with fresh.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    finally:
        fresh.close()
