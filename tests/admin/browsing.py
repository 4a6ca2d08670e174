"""A real browser on the live server: logged in, under a strict Content-Security-Policy, its console watched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.models import User
from django.test import Client

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--hide-scrollbars",
]  # fmt: skip
POLICY = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'self'; frame-ancestors 'none'"


class Visit:
    """One user's browser window. ``problems``: what the console said, page errors, and blocked sources."""

    def __init__(self, browser: Any, base: str, user: User, **options: Any) -> None:
        self.base = base
        self.problems: list[str] = []
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        client = Client()
        client.force_login(user)
        self.context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": base}])
        self.page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        self.page.route("**/*", self._serve)

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def _serve(self, route: Any) -> None:
        """Pages of the site come with the policy that a careful project sets; nothing else is reachable."""
        if not route.request.url.startswith(self.base):
            self.problems.append(f"asks for {route.request.url}")
            route.abort()
        elif route.request.url.endswith("/favicon.ico"):
            route.fulfill(status=204)
        elif route.request.resource_type == "document":
            answer = route.fetch(max_redirects=0)
            route.fulfill(response=answer, headers={**answer.headers, "content-security-policy": POLICY})
        else:
            route.continue_()

    def open(self, path: str) -> Any:
        self.page.goto(self.base + path)
        return self.page


@contextmanager
def launched(chromium: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()
