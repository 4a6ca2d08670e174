from __future__ import annotations

from django.urls import path

from . import views

app_name = "shop"
urlpatterns = [
    path("", views.orders, name="orders"),
    path("orders/rows/", views.rows, name="rows"),
    path("orders/<int:pk>/approve/", views.approve, name="approve"),
]
