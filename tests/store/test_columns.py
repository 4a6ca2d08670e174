"""Columns stand on the row classes alone; here it is seen that these fit the tables."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, models

from django_workflows.models import Hook, Run, Step, Wait
from django_workflows.services.creation import NewRun
from django_workflows.store import rows
from django_workflows.store.columns import Column, choose, columns, names, without
from django_workflows.store.rows import HookRow, RunRow, StepRow, WaitRow

TABLES = [(RunRow, Run), (StepRow, Step), (WaitRow, Wait), (HookRow, Hook)]


def _table(model: type[models.Model]) -> dict[str, Any]:
    return {field.attname: field for field in model._meta.concrete_fields}


def _same_type(column: Column, field: Any) -> bool:
    given = {"text": ("character varying", "varchar", "text"), "int": ("integer", "smallint")}
    given |= {"timestamptz": ("timestamp with time zone",), "bool": ("boolean",)}
    return str(field.db_type(connection)).startswith(given.get(column.sql, (column.sql,)))


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="the types are those of PostgreSQL")
@pytest.mark.parametrize(("row", "model"), TABLES)
def test_a_row_has_columns_of_its_table_with_their_types(row: type, model: type[models.Model]) -> None:
    table = _table(model)
    for column in columns(row):
        assert _same_type(column, table[column.name]), column


@pytest.mark.parametrize(("row", "model"), TABLES)
def test_what_may_be_null_is_the_same_in_both(row: type, model: type[models.Model]) -> None:
    table = _table(model)
    assert {column.name for column in columns(row) if column.nullable} == {
        name for name in names(row) if table[name].null
    }


@pytest.mark.parametrize(
    ("row", "groups"),
    [
        (RunRow, (rows.RUN_ORIGIN, rows.RUN_HEAD)),
        (StepRow, (rows.STEP_ORIGIN, rows.STEP_END)),
        (WaitRow, (rows.WAIT_ORIGIN,)),
    ],
)
def test_the_groups_name_columns_of_the_row(row: type, groups: tuple[tuple[str, ...], ...]) -> None:
    named = [name for group in groups for name in group]
    assert len(named) == len(set(named))
    assert set(named) < set(names(row))
    assert [column.name for column in without(row, *named)] == [name for name in names(row) if name not in named]


def test_a_new_run_says_every_column_that_has_no_default() -> None:
    computed = {"status", "created_at", "wake_at", "deadline_at", "last_sequence", "last_event_at"}
    silent = {name for name, field in _table(Run).items() if not field.null and not field.has_default()}
    assert silent - computed <= set(names(NewRun))


def test_parameters_are_encoded_as_the_column_is_stored(settings: Any) -> None:
    from cryptography.fernet import Fernet

    settings.DJANGO_WORKFLOWS = {"ENCRYPTION_KEYS": [Fernet.generate_key().decode()]}
    input, attributes, key = choose(NewRun, "input", "attributes", "idempotency_key")
    run = NewRun(workflow="w", input='{"args":[]}', queue="q", attributes={"a": "b"})  # type: ignore[arg-type]
    assert input.read(run).startswith("enc:1:")
    assert attributes.read(run) == '{"a":"b"}'
    assert key.read(run) is None
    assert (input.sql, attributes.sql, key.sql, key.nullable) == ("text", "jsonb", "text", True)
