"""A project with admin sites of its own: pages open under each of them, and no link leads into another."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.test import Client
from django.urls import clear_url_caches, include, path

from django_workflows.admin import RunAdmin
from django_workflows.models import Run
from django_workflows.services.start_options import about_attributes
from tests.shop.admin import OrderAdmin
from tests.shop.models import Order
from tests.support.runs import new_run

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

ops = AdminSite(name="ops")
ops.register(Run, RunAdmin)
ops.register(User)
ops.register(Order, OrderAdmin)
urlpatterns = [
    path("admin/", admin.site.urls),
    path("ops/", ops.urls),
    path("workflows/", include("django_workflows.urls")),
]


@pytest.fixture(autouse=True)
def _routes() -> Iterator[None]:
    clear_url_caches()
    yield
    clear_url_caches()


@pytest.fixture
def _only_there() -> Iterator[None]:
    """The default site does not know the runs."""
    registered = type(admin.site._registry[Run])
    admin.site.unregister(Run)
    yield
    admin.site.register(Run, registered)


def links(client: Client, url: str) -> set[str]:
    answer = client.get(url)
    assert answer.status_code == 200, url
    return set(re.findall(r'(?:href|action|data-live)="(/[^"]*)"', answer.content.decode()))


def pages(run_id: str) -> list[str]:
    return ["", "overview/", f"{run_id}/change/", f"{run_id}/act/cancel/", "?q=nothing"]


@pytest.mark.usefixtures("_only_there")
def test_pages_of_a_site_of_ones_own_link_to_that_site(admin_client: Client) -> None:
    run_id = new_run()
    for page in pages(run_id):
        found = links(admin_client, f"/ops/django_workflows/run/{page}")
        assert not [link for link in found if link.startswith("/admin/")], page
    assert f"/ops/django_workflows/run/{quote(run_id)}/change/" in links(admin_client, "/ops/django_workflows/run/")


def test_two_sites_do_not_lead_into_each_other(admin_client: Client) -> None:
    run_id = new_run()
    for own, other in (("/ops/", "/admin/"), ("/admin/", "/ops/"), ("/ops/", "/admin/")):
        for page in pages(run_id):
            found = links(admin_client, f"{own}django_workflows/run/{page}")
            assert not [link for link in found if link.startswith(other)], (own, page)


def test_runs_about_an_object_are_linked_on_the_objects_site(admin_client: Client) -> None:
    order = Order.objects.create()
    run_id = new_run(attributes=about_attributes(order))
    assert f"/ops/django_workflows/run/{quote(run_id)}/change/" in links(
        admin_client, f"/ops/shop/order/{order.pk}/change/"
    )
