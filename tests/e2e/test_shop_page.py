"""The shop's page in a real browser: place an order, see it change without a reload, approve it, see it shipped."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.eventually import eventually

ROOT = Path(__file__).resolve().parent.parent.parent
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[str]:
    """The demo, serving. Gives its address."""
    environment = {
        key: value for key, value in os.environ.items() if key not in ("DJANGO_SETTINGS_MODULE", "DEMO_ONCE")
    }
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "example_project.demo"],
            cwd=ROOT,
            env={**environment, "DATABASE_URL": f"sqlite:///{tmp_path}/shop.sqlite3"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:

            def address() -> str:
                assert process.poll() is None, output.read_text()
                found = re.search(r"the shop +(http://\S+)", output.read_text())
                return found[1] if found else ""

            yield eventually(address, "the demo serves", timeout=90)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


@pytest.mark.slow
@pytest.mark.browser
def test_an_order_is_placed_approved_and_shipped(shop: str, chromium: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(shop)
        page.fill("input[name=customer]", "Grace <b>Hopper</b>")
        page.click("text=Place order")
        row = page.locator("tr", has_text="Grace <b>Hopper</b>")
        row.locator("text=Placed").wait_for(timeout=5_000)
        row.locator("text=Approve").click(timeout=30_000)  # it appears without a reload when the order is paid
        row.locator("text=Shipped").wait_for(timeout=30_000)
        assert row.locator("button").count() == 0
        browser.close()
    assert complaints == []
