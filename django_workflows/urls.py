"""The routes of the REST API and of webhooks; see ``rest/``."""

from __future__ import annotations

from django.urls import URLPattern

app_name = "django_workflows"
urlpatterns: list[URLPattern] = []
