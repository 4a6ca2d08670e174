"""The pytest plugin: the fixture ``workflows``. Installed with the package, found by its entry point."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .session import Workflows


@pytest.fixture
def workflows(request: pytest.FixtureRequest) -> Iterator[Workflows]:
    """Runs workflows in this process, on a clock that the test moves. Brings the database, as ``db`` does.

    Ask for ``transactional_db`` as well, or mark the test ``django_db(transaction=True)``, to have real commits.
    """
    if request.config.pluginmanager.has_plugin("django"):
        request.getfixturevalue("db")
    from .session import Workflows

    with Workflows() as session:
        yield session
