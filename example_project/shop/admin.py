from __future__ import annotations

from django.contrib import admin

from .models import Charge, Order, Product

admin.site.register(Charge)
admin.site.register(Product)


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("__str__", "customer", "product", "status", "placed_at")
    list_filter = ("status",)
