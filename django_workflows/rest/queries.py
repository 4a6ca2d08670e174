"""Reading the tables for the wire."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from ..serialization.encryption import decrypt
from ..serialization.plain_json import to_json_value

M = TypeVar("M", bound=Model)


def rows(model: type[M]) -> QuerySet[M]:
    """All rows of a table."""
    return model._default_manager.all()


def json_column(row: Any, name: str) -> Any:
    """A column of a row from :func:`columns.with_raw`, as plain JSON."""
    text: str | None = getattr(row, f"raw_{name}")
    return None if text is None else to_json_value(decrypt(text))
