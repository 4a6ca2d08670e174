"""Every test that makes runs ends by verifying all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def verified(db: None) -> Iterator[None]:
    """After the test, every run in the database obeys every rule of the validator (``django_workflows.verify``)."""
    yield
    from django_workflows.verify import verify_runs

    found = verify_runs()
    assert not found, "\n".join(str(violation) for violation in found)
