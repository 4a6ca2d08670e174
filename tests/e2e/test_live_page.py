"""The live order page in a real browser: lines come as they are written, the approval goes through a webhook."""

from __future__ import annotations

from pathlib import Path

import pytest

from .test_shop_page import FLAGS, shop  # noqa: F401 - a fixture


@pytest.mark.slow
@pytest.mark.browser
def test_a_live_order_from_beginning_to_end(shop: str, chromium: str, tmp_path: Path) -> None:  # noqa: F811
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(shop.rstrip("/") + "/live/")
        page.fill("input[name=what]", "<b>a lamp</b>")
        page.click("button")
        page.locator("li", has_text="We have your order: <b>a lamp</b>.").wait_for(timeout=20_000)
        with page.expect_popup() as popup:
            page.click("button")
        popup.value.locator("text=Thank you").wait_for(timeout=20_000)
        page.locator("li", has_text="The signature was good.").wait_for(timeout=30_000)
        page.locator("li", has_text="On its way to you.").wait_for(timeout=30_000)
        page.locator("text=That was all.").wait_for(timeout=20_000)
        assert page.locator("li", has_text="Paid").count() == 1  # the provider called back twice
        assert page.locator("button").count() == 0
        assert page.locator("progress").evaluate("bar => bar.value") == 100
        page.screenshot(path=str(tmp_path / "live.png"), full_page=True)
        page.reload()  # everything is there again, from the beginning
        page.locator("text=That was all.").wait_for(timeout=20_000)
        assert page.locator("li").count() == 6
        browser.close()
    assert complaints == []
