"""The migrations say what the models say."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command


@pytest.mark.sqlite
@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    output = StringIO()
    try:
        call_command("makemigrations", "django_workflows", check_changes=True, dry_run=True, stdout=output)
    except SystemExit:
        pytest.fail(f"models and migrations differ; run makemigrations:\n{output.getvalue()}")
