"""The pytest plugin: the fixture ``workflows``. Installed with the package, found by its entry point."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .session import Workflows


def _session() -> Iterator[Workflows]:
    from .session import Workflows  # needs Django to be set up, which is after plugins are loaded

    with Workflows() as session:
        yield session


if find_spec("pytest_django") is not None:

    @pytest.fixture
    def workflows(db: None) -> Iterator[Workflows]:  # `db` by name: pytest-django sets up what it sees tests ask for
        """Runs workflows in this process, on a clock that the test moves. Brings the database, as ``db`` does.

        Ask for ``transactional_db`` as well, or mark the test ``django_db(transaction=True)``, to have real commits.
        """
        yield from _session()

else:

    @pytest.fixture
    def workflows() -> Iterator[Workflows]:
        """Runs workflows in this process, on a clock that the test moves."""
        yield from _session()
