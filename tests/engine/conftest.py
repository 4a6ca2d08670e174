from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from django_workflows.authoring import registry


@pytest.fixture(autouse=True)
def _definitions_of_one_test() -> Iterator[None]:
    with registry.isolated():
        yield


@pytest.fixture(autouse=True)
def _warnings_belong_to_their_test() -> Iterator[None]:
    """What a dropped body leaves behind is freed here, so that a warning about it fails the test that made it."""
    yield
    gc.collect()
