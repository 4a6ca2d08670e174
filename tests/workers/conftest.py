"""Every run that these tests make is verified at their end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from django_workflows.models import Run
from django_workflows.verify import verify_runs
from tests.workers import bodies


@pytest.fixture(autouse=True)
def verified(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[None]:
    if connection.vendor != "postgresql":
        pytest.skip("several processes: PostgreSQL")
    yield
    poison = [definition.name for definition in (bodies.looping, bodies.leaving, bodies.stubborn)]
    sound = Run.objects.exclude(workflow__in=poison).values_list("pk", flat=True)  # the others cannot be replayed here
    found = [violation for violation in verify_runs(list(sound)) if violation.rule != 8]  # 8: the workers have ended
    assert not found, [str(violation) for violation in found]
