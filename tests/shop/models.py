"""What the workflows of the tests act upon."""

from django.db import models


class Order(models.Model):
    status = models.CharField(max_length=32, default="new")
    charge_id = models.CharField(max_length=64, blank=True, default="")
    customer = models.CharField(max_length=64, blank=True, default="")


class Ledger(models.Model):
    """One row per side effect. ``key`` is not unique, so that what was done twice shows."""

    key = models.CharField(max_length=200, db_index=True)
    note = models.TextField(blank=True, default="")
    created = models.DateTimeField(auto_now_add=True)
