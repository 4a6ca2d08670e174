"""Every run that these tests make is verified at their end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from django_workflows.verify import verify_runs
from tests.workers import bodies  # noqa: F401 - defines the workflows


@pytest.fixture(autouse=True)
def verified(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[None]:
    if connection.vendor != "postgresql":
        pytest.skip("several processes: PostgreSQL")
    yield
    if request.node.get_closest_marker("broken_logs") is None:
        found = [violation for violation in verify_runs() if violation.rule != 8]  # 8: the workers have gone home
        assert not found, [str(violation) for violation in found]
