"""Webhook URLs are the same wherever they are built."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import set_script_prefix

from django_workflows.store.webhook_url import is_included, webhook_url


@pytest.mark.parametrize("prefix", ["/", "/shop/"], ids=["outside a request", "inside one"])
@pytest.mark.parametrize("urls", ["tests.urls", "django.contrib.auth.urls"], ids=["included", "not included"])
def test_the_site_s_prefix_is_in_them_inside_requests_and_outside(settings: Any, prefix: str, urls: str) -> None:
    settings.DJANGO_WORKFLOWS = {"BASE_URL": "https://h.example/"}
    settings.FORCE_SCRIPT_NAME = "/shop"
    settings.ROOT_URLCONF = urls
    set_script_prefix(prefix)
    try:
        assert webhook_url("t") == "https://h.example/shop/workflows/webhooks/t/"
    finally:
        set_script_prefix("/")


def test_without_a_prefix_they_begin_at_the_root(settings: Any) -> None:
    settings.DJANGO_WORKFLOWS = {"BASE_URL": "https://h.example"}
    assert webhook_url("t") == "https://h.example/workflows/webhooks/t/"


def test_whether_they_are_included(settings: Any) -> None:
    assert is_included()
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    assert not is_included()
    settings.ROOT_URLCONF = "django_workflows.urls.webhooks"
    assert not is_included()  # without its namespace
