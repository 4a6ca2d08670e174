"""Points in time are stored in UTC whatever the project's settings are, also in the hour that comes twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from django_workflows.models import Run, Worker

#: New York, when clocks are put back from 02:00 to 01:00: 01:30 is shown at both instants
FIRST, SECOND = datetime(2026, 11, 1, 5, 30, tzinfo=UTC), datetime(2026, 11, 1, 6, 30, tzinfo=UTC)

pytestmark = [pytest.mark.sqlite, pytest.mark.django_db]


@pytest.fixture
def local(transactional_db: None, settings: Any) -> Iterator[None]:
    settings.USE_TZ, settings.TIME_ZONE = False, "America/New_York"
    connection.close()  # what a session adapts is settled when it begins
    yield
    settings.USE_TZ, settings.TIME_ZONE = True, "UTC"
    connection.close()


def _worker(moment: datetime) -> Worker:
    return Worker.objects.create(id=f"w{moment.hour}", hostname="h", pid=1, started_at=moment, heartbeat_at=moment)


def test_two_instants_that_a_clock_shows_alike_stay_apart(local: None) -> None:
    for moment in (FIRST, SECOND):
        _worker(moment)
    assert [w.started_at for w in Worker.objects.order_by("started_at")] == [FIRST, SECOND]
    assert Worker.objects.filter(heartbeat_at__lte=SECOND - timedelta(minutes=1)).count() == 1
    assert all(timezone.is_aware(w.started_at) for w in Worker.objects.all())


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_what_is_stored_does_not_depend_on_the_settings(settings: Any, zone: str) -> None:
    settings.USE_TZ, settings.TIME_ZONE = zone == "UTC", zone
    _worker(SECOND)
    with connection.cursor() as cursor:
        cursor.execute("SELECT started_at FROM django_workflows_worker")
        (found,) = cursor.fetchone()
    if connection.vendor == "sqlite":
        assert str(found) == "2026-11-01 06:30:00"


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL has always kept instants")
class TestTheMigration:
    """Release 0.1 stored local text on SQLite where USE_TZ was off."""

    migration = import_module("django_workflows.migrations.0005_moments_in_utc")

    def migrate(self) -> None:
        with connection.schema_editor() as editor:
            self.migration.to_utc(apps, editor)

    @pytest.mark.django_db(transaction=True)
    def test_local_times_become_utc(self, settings: Any) -> None:
        settings.USE_TZ, settings.TIME_ZONE = False, "America/New_York"
        _worker(FIRST)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE django_workflows_worker SET started_at = '2026-07-01 12:00:00.000500'")
        self.migrate()
        assert Worker.objects.get().started_at == datetime(2026, 7, 1, 16, 0, 0, 500, tzinfo=UTC)

    @pytest.mark.django_db(transaction=True)
    def test_times_that_were_utc_stay(self, settings: Any) -> None:
        settings.USE_TZ, settings.TIME_ZONE = True, "America/New_York"
        _worker(FIRST)
        self.migrate()
        assert Worker.objects.get().started_at == FIRST
        assert not Run.objects.exists()
