"""Where the webhooks of the dumps are."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("workflows/", include("django_workflows.urls"))]
