"""Only what every floor needs. Fixtures of one floor live beside its tests."""

from __future__ import annotations

import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM is None:
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.skip(reason="no Chromium on this machine"))


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path. Tests that use it are marked ``browser``, and skipped where there is none."""
    assert CHROMIUM, "mark the test with pytest.mark.browser"
    return CHROMIUM
