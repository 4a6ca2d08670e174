"""Runs about an object, on the object's own page."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import RequestFactory
from django.urls import path

from django_workflows.admin import RunAdmin, RunsAboutMixin
from django_workflows.models import Run
from tests.admin.histories import Story
from tests.shop.models import Order

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

site = admin.AdminSite()


class OrderAdmin(RunsAboutMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    fields = ("status",)


class ByCustomerAdmin(RunsAboutMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    def workflow_attributes(self, obj: Any) -> dict[str, str]:
        return {"customer": obj.customer, "buyer": obj.customer}


site.register(Order, OrderAdmin)
site.register(Run, RunAdmin)
urlpatterns = [path("admin/", site.urls)]


def page(model_admin: Any, order: Order, user: User) -> str:
    request = RequestFactory().get("/")
    request.user = user
    response = model_admin.change_view(request, str(order.pk))
    return str(response.render().content.decode())


@pytest.fixture
def root() -> User:
    return User.objects.create_superuser("root")


def test_runs_about_the_order_are_shown_the_newest_first(root: User) -> None:
    order, other = Order.objects.create(), Order.objects.create()
    first = (
        Story("shop.workflows.fulfil_order", attributes={"shop.order": str(order.pk)})
        .start()
        .hook("hook:1", "packed:1")
    )
    second = Story("shop.workflows.refund", attributes={"shop.order": str(order.pk)}).start().end()
    foreign = Story("shop.workflows.refund", attributes={"shop.order": str(other.pk)})
    text = page(OrderAdmin(Order, site), order, root)
    assert text.index(second.id) < text.index(first.id)
    assert "hook packed:1 for" in text
    assert foreign.id not in text
    assert "django_workflows/admin.css" in text


def test_other_attributes_can_be_named(root: User) -> None:
    order = Order.objects.create(customer="c1")
    one = Story("shop.a", attributes={"customer": "c1"})
    two = Story("shop.a", attributes={"buyer": "c1"})
    Story("shop.a", attributes={"customer": "c2"})
    text = page(ByCustomerAdmin(Order, site), order, root)
    assert one.id in text
    assert two.id in text
    assert text.count("wf-about-table") == 1


def test_no_runs_is_said(root: User) -> None:
    assert "No runs are about this." in page(OrderAdmin(Order, site), Order.objects.create(), root)


def test_a_user_who_may_not_view_runs_sees_no_section() -> None:
    user = User.objects.create_user("bob", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="change_order", content_type__app_label="shop"))
    order = Order.objects.create()
    story = Story("shop.a", attributes={"shop.order": str(order.pk)})
    text = page(OrderAdmin(Order, site), order, user)
    assert story.id not in text
    assert "workflow_runs" not in text


def test_the_page_for_a_new_object_has_no_section(root: User) -> None:
    request = RequestFactory().get("/")
    request.user = root
    response: Any = OrderAdmin(Order, site).add_view(request)
    assert "workflow_runs" not in response.render().content.decode()


def test_many_runs_are_cut_with_a_link_to_all(root: User) -> None:
    order = Order.objects.create()
    for number in range(17):
        Story("shop.a", number, attributes={"shop.order": str(order.pk)})
    text = page(OrderAdmin(Order, site), order, root)
    assert text.count('class="wf-run"') == 15
    assert f"?attribute=shop.order%3D{order.pk}" in text


def test_the_media_of_the_project_are_kept() -> None:
    class WithMedia(RunsAboutMixin, admin.ModelAdmin):  # type: ignore[type-arg]
        class Media:
            css = {"all": ("own.css",)}

    assert "own.css" in str(WithMedia(Order, site).media)
    assert "django_workflows/admin.css" in str(WithMedia(Order, site).media)
