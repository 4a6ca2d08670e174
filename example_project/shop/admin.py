from __future__ import annotations

from django.contrib import admin

from django_workflows.admin import RunsAboutMixin

from .models import Charge, Order, Product

admin.site.register(Charge)
admin.site.register(Product)


@admin.register(Order)
class OrderAdmin(RunsAboutMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """Shows the runs that were started with `using(about=order)` below the order."""

    list_display = ("__str__", "customer", "product", "status", "placed_at")
    list_filter = ("status",)
