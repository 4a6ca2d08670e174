from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("example_project.shop.urls")),
    path("live/", include("example_project.live.urls")),
    path("admin/", admin.site.urls),
    path("workflows/", include("django_workflows.urls")),
]
