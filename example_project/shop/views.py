"""The shop's one page: place an order, watch it, approve it."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from django_workflows import api
from django_workflows.exceptions import HookNotFoundError

from .models import Order, Product
from .workflows import fulfil_order

SHOWN = 25


def orders(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _place_order(request)
    shown = Order.objects.select_related("product")[:SHOWN]
    return render(request, "shop/orders.html", {"orders": shown, "products": Product.objects.order_by("pk")})


def _place_order(request: HttpRequest) -> HttpResponse:
    product = get_object_or_404(Product, pk=request.POST.get("product") or 0)
    customer = request.POST.get("customer", "").strip()[:100] or "Guest"
    with transaction.atomic():
        order = Order.objects.create(product=product, customer=customer)
        # The order and its run are committed together: neither exists without the other.
        order.run_id = fulfil_order.using(about=order, attributes={"order": str(order.pk)}).start(order.pk).id
        order.save(update_fields=["run_id"])
    return redirect("shop:orders")


@require_GET
def rows(request: HttpRequest) -> HttpResponse:
    """The table's rows alone, with which the page replaces the old ones."""
    return render(request, "shop/rows.html", {"orders": Order.objects.select_related("product")[:SHOWN]})


@require_POST
def approve(request: HttpRequest, pk: int) -> HttpResponse:
    order = get_object_or_404(Order, pk=pk)
    try:
        api.resume_hook(order.approval_token, {"approved": request.POST.get("answer") != "no"})
    except HookNotFoundError:
        messages.warning(request, f"Order {pk} does not wait for an answer.")
    return redirect("shop:orders")
