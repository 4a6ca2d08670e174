"""Only what every floor needs. Fixtures of one floor live beside its tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support.verified import verified

__all__ = ["verified"]

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


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    """Before the test database is dropped, end the sessions that still listen in it."""
    yield
    from django.db import DatabaseError, connection

    from django_workflows.notify import listener

    listener.LINGER = 0.0
    with django_db_blocker.unblock(), suppress(DatabaseError):  # type: ignore[attr-defined]
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
