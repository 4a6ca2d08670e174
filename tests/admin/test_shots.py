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

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

TALLEST = 1500  # pixels: a list goes on
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}


@pytest.fixture
def keep(tmp_path: Path) -> Callable[[Any, str], None]:
    directory = Path(os.environ.get("SHOTS") or tmp_path)
    directory.mkdir(parents=True, exist_ok=True)

    def shoot(page: Any, name: str) -> None:
        path = directory / f"admin-{name}.png"
        height = page.evaluate("document.querySelector('#container').scrollHeight")
        page.set_viewport_size({"width": page.viewport_size["width"], "height": min(height, TALLEST)})
        page.screenshot(path=path)
        assert path.stat().st_size > 10_000  # an empty page has less

    return shoot


def run_path(story: histories.Story) -> str:
    return reverse("admin:django_workflows_run_change", args=[quote(story.id)])


def test_every_page_can_be_looked_at(
    visit: Callable[..., Visit], operator: User, keep: Callable[[Any, str], None]
) -> None:
    histories.crowd(80)
    told = histories.shop()
    listing, overview = (reverse(f"admin:django_workflows_{name}") for name in ("run_changelist", "overview"))
    desk = visit(operator)
    keep(desk.open(listing), "list")
    for name in ("finished", "failed", "waiting", "blocked", "running", "parent"):
        keep(desk.open(run_path(told[name])), name)
    keep(desk.open(overview), "overview")
    dark = visit(operator, color_scheme="dark")
    for name, path in (("list", listing), ("finished", run_path(told["finished"])), ("overview", overview)):
        keep(dark.open(path), f"{name}-dark")
    phone = visit(operator, **PHONE)
    for name, path in (
        ("list", listing),
        ("finished", run_path(told["finished"])),
        ("waiting", run_path(told["waiting"])),
        ("overview", overview),
    ):
        keep(phone.open(path), f"{name}-phone")
