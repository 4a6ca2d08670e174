from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from django_workflows.values import clock


@pytest.fixture(autouse=True)
def _real_time_afterwards() -> Iterator[None]:
    yield
    clock.reset()


class TestClock:
    def test_now_is_the_real_time_in_utc(self) -> None:
        before, now, after = datetime.now(UTC), clock.now(), datetime.now(UTC)
        assert before <= now <= after
        assert now.tzinfo is UTC
        assert clock.offset() == timedelta(0)

    def test_tests_move_it_and_put_it_back(self) -> None:
        clock.advance(timedelta(days=3))
        clock.advance(timedelta(days=-1))
        assert clock.offset() == timedelta(days=2)
        assert clock.now() >= datetime.now(UTC) + timedelta(days=2) - timedelta(minutes=1)
        clock.reset()
        assert clock.now() - datetime.now(UTC) < timedelta(minutes=1)

    def test_the_monotonic_clock_is_not_moved(self) -> None:
        before = clock.monotonic()
        clock.advance(timedelta(days=3))
        assert 0 <= clock.monotonic() - before < 3600

    def test_naive_datetimes_are_refused(self) -> None:
        aware = datetime(2026, 1, 1, tzinfo=UTC)
        assert clock.require_aware(aware) is aware
        with pytest.raises(ValueError, match="timezone-aware"):
            clock.require_aware(datetime(2026, 1, 1))  # noqa: DTZ001
