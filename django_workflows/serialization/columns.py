"""Payload columns as they are stored: text that may be encrypted, with nothing decoded and no class looked up."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import F, Func, IntegerField, QuerySet, TextField, Value
from django.db.models.functions import Cast, Coalesce

from .encryption import decrypt

_UNREADABLE = '"(encrypted; its key is not in ENCRYPTION_KEYS)"'


def stored(*names: str) -> dict[str, Cast]:
    """Annotations ``raw_<name>``: the columns' text, as :func:`decrypt` takes it; None for NULL."""
    return {f"raw_{name}": Cast(F(name), TextField()) for name in names}


def with_raw(rows: QuerySet[Any], *names: str) -> QuerySet[Any]:
    """The rows with these payload columns as ``raw_<name>`` (:func:`stored`); the decoded columns are left out."""
    annotations: dict[str, Any] = stored(*names)
    found: QuerySet[Any] = rows.annotate(**annotations).defer(*names)
    return found


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


def decrypted(text: str | None) -> str | None:
    """A column's text as encoded JSON, for pages. What cannot be decrypted here is a sentence that says so."""
    if text is None:
        return None
    try:
        return decrypt(text)
    except ImproperlyConfigured:
        return _UNREADABLE
    except Exception as error:
        if type(error).__module__.partition(".")[0] == "cryptography":
            return _UNREADABLE
        raise
