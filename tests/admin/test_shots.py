"""The screenshots of the documentation: taken by the test run, kept where ``SHOTS`` says (``make shots``)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.urls import reverse

from tests.admin import histories
from tests.admin.browsing import Visit
from tests.shop.models import Order

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

Open = Callable[..., Visit]
Keep = Callable[..., None]
TALLEST = 1500  # pixels: a list goes on
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5, "is_mobile": True, "has_touch": True}


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    directory = Path(os.environ.get("SHOTS") or tmp_path)
    directory.mkdir(parents=True, exist_ok=True)

    def shoot(page: Any, name: str, tallest: int = TALLEST) -> None:
        path = directory / f"admin-{name}.png"
        height = page.evaluate("document.querySelector('#container').scrollHeight")
        page.set_viewport_size({"width": page.viewport_size["width"], "height": min(height, tallest)})
        page.mouse.wheel(0, -100_000)
        page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(path=path)
        assert path.stat().st_size > 10_000  # an empty page has less

    return shoot


def run_path(story: histories.Story) -> str:
    return reverse("admin:django_workflows_run_change", args=[quote(story.id)])


def test_every_page_can_be_looked_at(visit: Open, operator: User, keep: Keep) -> None:
    histories.crowd(80)
    told = histories.shop()
    pages = {name: run_path(story) for name, story in told.items()}
    pages["list"] = reverse("admin:django_workflows_run_changelist")
    pages["overview"] = reverse("admin:django_workflows_overview")
    desk = visit(operator)
    for name in ("list", "finished", "failed", "waiting", "blocked", "running", "parent", "overview"):
        keep(desk.open(pages[name]), name)
    dark = visit(operator, color_scheme="dark")
    for name in ("list", "finished", "overview"):
        keep(dark.open(pages[name]), f"{name}-dark")
    phone = visit(operator, **PHONE)
    for name in ("list", "finished", "waiting", "overview"):
        keep(phone.open(pages[name]), f"{name}-phone")


def test_every_question_can_be_looked_at(visit: Open, operator: User, keep: Keep) -> None:
    stories = [histories.waiting(histories.worker()), histories.failed(histories.worker("web-2"))]
    schema = "tests.admin.test_actions.Packed"
    form = histories.Story("shop.workflows.fulfil_order", 45).start().hook("hook:1", "packed:45", schema=schema)
    page = visit(operator).open(run_path(form))
    page.get_by_role("link", name="Resume hook packed:45").click()
    page.locator("[name=payload_box]").fill("7")
    page.locator("form button.wf-button").click()
    page.locator(".errorlist").wait_for()
    keep(page, "resume")
    page = visit(operator).open(reverse("admin:django_workflows_run_changelist"))
    page.locator("#action-toggle").check()
    page.locator("select[name=action]").select_option("cancel_runs")
    page.locator(".actions button").click()
    page.locator(".wf-count").wait_for()
    keep(page, "dry-run")
    page = visit(operator).open(run_path(stories[1]))
    page.locator(".wf-row-step summary").click()
    page.locator("#wf-event-5 summary").click()
    page.locator("#wf-event-5 pre").wait_for()
    keep(page, "details", 2400)


def test_a_long_run_can_be_looked_at(visit: Open, operator: User, keep: Keep) -> None:
    keep(visit(operator).open(run_path(histories.loop(80))), "long")


def test_the_runs_about_an_order_can_be_looked_at(visit: Open, keep: Keep) -> None:
    order = Order.objects.create(customer="c1", status="paid")
    attributes = {"shop.order": str(order.pk)}
    histories.Story("shop.workflows.fulfil_order", order.pk, attributes=attributes).start().hook("hook:1", "packed:1")
    histories.Story("shop.workflows.refund", order.pk, attributes=attributes).start().end()
    root = User.objects.create_superuser("root")
    keep(visit(root).open(reverse("admin:shop_order_change", args=[order.pk])), "about")
