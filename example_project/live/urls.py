from __future__ import annotations

from django.urls import path

from . import views

app_name = "live"
urlpatterns = [
    path("", views.begin, name="begin"),
    path("<slug:run_id>/", views.order, name="order"),
]
