"""A typical payment provider: slow, sometimes down, and safe to call twice with the same idempotency key.

It is a fake that keeps its books in a table, so they survive the worker that calls it.
"""

from __future__ import annotations

import secrets
import time
from decimal import Decimal

from django.db.models import F

from .models import Charge


class ProviderAwayError(Exception):
    """Try again later."""


def charge(key: str, amount: Decimal) -> str:
    """Charge ``amount`` once for this key; a repeated call returns the same charge's id.

    The first call for a key is refused, as if the provider were down.
    """
    books, _ = Charge.objects.get_or_create(key=key, defaults={"amount": amount})
    Charge.objects.filter(pk=books.pk).update(calls=F("calls") + 1)
    time.sleep(0.8)
    books.refresh_from_db()
    if books.calls == 1:
        raise ProviderAwayError("503 from the payment provider")
    Charge.objects.filter(pk=books.pk, charge_id="").update(charge_id=f"ch_{secrets.token_hex(6)}")
    books.refresh_from_db()
    return books.charge_id


def refund(charge_id: str) -> None:
    """Give the money back. Doing it again changes nothing."""
    Charge.objects.filter(charge_id=charge_id).update(refunded=True)
