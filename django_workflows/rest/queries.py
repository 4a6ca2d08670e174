"""Reading the tables for the wire."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any, TypeVar

from django.db.models import Func, IntegerField, Model, QuerySet, TextField, Value
from django.db.models.functions import Cast, Coalesce

from ..serialization.encryption import decrypt
from ..serialization.plain_json import to_json_value

M = TypeVar("M", bound=Model)


def rows(model: type[M]) -> QuerySet[M]:
    """All rows of a table."""
    return model._default_manager.all()


class _Bytes(Func):
    """Bytes of stored text, which is ASCII; PostgreSQL knows them without reading the text."""

    function = "OCTET_LENGTH"
    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, function="LENGTH", **context)


def stored_bytes(*names: str) -> Any:
    """How much these payload columns of a row hold, as an expression."""
    columns = [Coalesce(_Bytes(Cast(name, TextField())), 0) for name in names]
    return reduce(add, columns, Value(0))


def json_column(row: Any, name: str) -> Any:
    """A column of a row from :func:`columns.with_raw`, as plain JSON."""
    text: str | None = getattr(row, f"raw_{name}")
    return None if text is None else to_json_value(decrypt(text))
