"""Reading the tables for the wire."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import F, Model, QuerySet, TextField
from django.db.models.functions import Cast

from ..serialization.encryption import decrypt
from ..serialization.plain_json import to_json_value

M = TypeVar("M", bound=Model)


def rows(model: type[M]) -> QuerySet[M]:
    return model._default_manager.all()


def with_text(queryset: QuerySet[M], *names: str) -> QuerySet[M]:
    """The rows with these payload columns as stored text, in ``text_<name>``: a class they name need not exist here."""
    texts: dict[str, Any] = {f"text_{name}": Cast(F(name), TextField()) for name in names}
    found: QuerySet[M] = queryset.annotate(**texts).defer(*names)
    return found


def json_column(row: Any, name: str) -> Any:
    """A column of a row from :func:`with_text`, as plain JSON."""
    text: str | None = getattr(row, f"text_{name}")
    return None if text is None else to_json_value(decrypt(text))
