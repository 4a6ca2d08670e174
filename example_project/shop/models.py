"""What the shop sells and what was ordered. Nothing here depends on workflows, except the id of the order's run."""

from __future__ import annotations

from django.db import models


class Product(models.Model):
    name = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.PositiveIntegerField()

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    class Status(models.TextChoices):
        PLACED = "placed"
        RESERVED = "reserved"
        PAID = "paid"
        APPROVED = "approved"
        SHIPPED = "shipped"
        CANCELLED = "cancelled"

    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField(default=1)
    customer = models.CharField(max_length=100)
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.PLACED)
    charge_id = models.CharField(max_length=40, blank=True)
    run_id = models.CharField(max_length=40, blank=True)
    placed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-placed_at", "-pk")

    def __str__(self) -> str:
        return f"order {self.pk}"

    @property
    def approval_token(self) -> str:
        """Names the hook at which the order's run waits for a manager."""
        return f"approve:{self.pk}"


class Charge(models.Model):
    """The books of the payment provider: what it did, by the idempotency key that it was given."""

    key = models.CharField(max_length=64, unique=True)
    amount = models.DecimalField(max_digits=8, decimal_places=2)
    calls = models.PositiveIntegerField(default=0)
    #: empty until the charge went through
    charge_id = models.CharField(max_length=40, blank=True)
    refunded = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.charge_id or f"not yet charged ({self.calls} calls)"
