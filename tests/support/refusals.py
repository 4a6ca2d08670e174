"""A database that answers with a refusal: locked tables, and rows that it does not take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from tests.support.sessions import second_connection


def sql(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def table_locked(table: str, mode: str) -> Iterator[None]:
    with second_connection() as other, other.transaction():
        other.execute(f"LOCK TABLE django_workflows_{table} IN {mode} MODE")
        yield


@contextmanager
def refusing(state: str, condition: str, table: str = "event") -> Iterator[None]:
    """The database refuses rows that meet the condition (of ``NEW``) with this SQLSTATE."""
    sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {condition} THEN RAISE EXCEPTION 'refused' USING ERRCODE = '{state}'; END IF; RETURN NEW; END $$",
        f"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON django_workflows_{table} FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    try:
        yield
    finally:
        sql("DROP FUNCTION refuse CASCADE")
