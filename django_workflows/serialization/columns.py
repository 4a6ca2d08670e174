"""Payload columns as they are stored: text that may be encrypted, with nothing decoded and no class looked up."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import F, QuerySet, TextField
from django.db.models.functions import Cast

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
