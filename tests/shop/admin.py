from django.contrib import admin

from django_workflows.admin import RunsAboutMixin

from .models import Order


@admin.register(Order)
class OrderAdmin(RunsAboutMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    pass
