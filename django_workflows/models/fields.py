"""The kinds of columns: ids, encoded values, points in time. And what only PostgreSQL has, with a stand-in elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement
from django.utils import timezone

from ..serialization import Encoded, dumps, loads
from ..serialization.encryption import decrypt, encrypt

if TYPE_CHECKING:
    _TextField = models.TextField[Any, Any]
    _DateTimeField = models.DateTimeField[Any, Any]
    _CharField = models.CharField[Any, Any]
else:
    _TextField, _DateTimeField, _CharField = models.TextField, models.DateTimeField, models.CharField


class IdField(_CharField):
    """A primary key of text. On PostgreSQL without the second index that Django adds for LIKE, by which no query searches."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        if connection.vendor == "postgresql":
            return f"character varying({self.max_length})"
        return super().db_type(connection)


class _FixtureText:
    """``dumpdata`` writes what the column holds, as text, and ``loaddata`` reads it back: encrypted stays encrypted."""

    attname: str

    def value_from_object(self, obj: models.Model) -> Any:
        value = getattr(obj, self.attname)
        return None if value is None else self.to_fixture(value)

    def value_to_string(self, obj: models.Model) -> str:
        return str(self.value_from_object(obj))

    def to_fixture(self, value: Any) -> str:
        raise NotImplementedError


class PayloadField(_FixtureText, _TextField):
    """A value as tagged JSON text. Reads as the decoded value; SQL NULL reads as None, too."""

    def to_fixture(self, value: Any) -> str:
        return str(self.get_prep_value(value))

    def to_python(self, value: Any) -> Any:
        """Text is stored text, from a fixture."""
        return loads(decrypt(value)) if isinstance(value, str) else value

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        return None if value is None else loads(decrypt(value))

    def get_prep_value(self, value: Any) -> str | None:
        if value is None:
            return None
        return encrypt(value if isinstance(value, Encoded) else dumps(value))


class SealedField(_FixtureText, _TextField):
    """Encoded text, encrypted at rest where keys are set. Reads as text."""

    def to_fixture(self, value: Any) -> str:
        return encrypt(value)

    def to_python(self, value: Any) -> Any:
        return decrypt(value) if isinstance(value, str) else value

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        return None if value is None else decrypt(value)

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else encrypt(str(value))


class MomentField(_FixtureText, _DateTimeField):
    """A point in time that reads as an aware datetime and is stored in UTC, whatever ``USE_TZ`` and ``TIME_ZONE`` say.

    Local time cannot be compared in the hour that comes twice when clocks are put back.
    """

    def to_fixture(self, value: datetime) -> str:
        return value.isoformat()  # Django's own encoder cuts microseconds off

    def from_db_value(self, value: datetime | None, expression: Any, connection: Any) -> datetime | None:
        if value is None:
            return None
        if connection.vendor != "postgresql":
            return value.replace(tzinfo=UTC)  # the text is UTC, whatever zone Django takes it for
        # in UTC: an instant of the hour that comes twice equals none of another zone (PEP 495)
        return timezone.make_aware(value).astimezone(UTC) if timezone.is_naive(value) else value

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        value = value if prepared else self.get_prep_value(value)
        if not isinstance(value, datetime):
            return super().get_db_prep_value(value, connection, prepared=True)
        moment = timezone.make_aware(value) if timezone.is_naive(value) else value
        if connection.vendor == "postgresql":
            return moment
        return str(moment.astimezone(UTC).replace(tzinfo=None))


class AttributesIndex(GinIndex):
    """Search by attribute: a GIN index on PostgreSQL, nothing elsewhere."""

    def create_sql(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor, using: str = "", **kwargs: Any
    ) -> Statement:
        if schema_editor.connection.vendor != "postgresql":
            return Statement("SELECT 1")
        return super().create_sql(model, schema_editor, using=using, **kwargs)

    def remove_sql(self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor, **kwargs: Any) -> str:
        if schema_editor.connection.vendor != "postgresql":
            return "SELECT 1"
        return super().remove_sql(model, schema_editor, **kwargs)


class IsOneOf(models.Func):
    """``field`` has one of these values; for CHECK constraints.

    PostgreSQL prepares a table's checks anew for each statement that writes to it. An array of literals takes it longer
    than all the rest of a short statement, one literal that is an array next to nothing.
    """

    output_field = models.BooleanField()
    conditional = True

    def __init__(self, field: str, values: Iterable[str]) -> None:
        self.values = list(values)
        super().__init__(models.F(field))

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper, **_: Any) -> tuple[str, list[str]]:  # type: ignore[override]
        column, _params = compiler.compile(self.get_source_expressions()[0])
        return f"{column} IN ({', '.join(['%s'] * len(self.values))})", list(self.values)

    def as_postgresql(self, compiler: Any, connection: BaseDatabaseWrapper, **_: Any) -> tuple[str, list[str]]:
        column, _params = compiler.compile(self.get_source_expressions()[0])
        return f"{column}::text = ANY (%s::text[])", ["{" + ",".join(self.values) + "}"]


def among(field: str, values: Iterable[str]) -> IsOneOf:
    """:class:`IsOneOf` with the values in a fixed order, so that migrations see no change."""
    return IsOneOf(field, sorted(map(str, values)))
