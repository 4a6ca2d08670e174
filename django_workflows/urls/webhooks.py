"""The webhooks alone, without the API: ``path("workflows/", include("django_workflows.urls.webhooks"))``."""

from __future__ import annotations

from django.urls import URLPattern, path

from ..rest.webhooks import webhook

app_name = "django_workflows"

urlpatterns: list[URLPattern] = [
    path("webhooks/<str:token>/", webhook, name="webhook"),
    path("webhooks/<str:token>", webhook),  # a redirect would lose the body
]
