from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_workflows.values import durations

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


class TestParse:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (0, timedelta(0)),
            (90, timedelta(seconds=90)),
            (0.25, timedelta(milliseconds=250)),
            (timedelta(days=1), timedelta(days=1)),
            ("90s", timedelta(seconds=90)),
            ("5m", timedelta(minutes=5)),
            ("1h 30m", timedelta(minutes=90)),
            ("1h30m", timedelta(minutes=90)),
            (" 1 h  30 m ", timedelta(minutes=90)),
            ("3d", timedelta(days=3)),
            ("2w", timedelta(weeks=2)),
            ("500ms", timedelta(milliseconds=500)),
            ("1m 500ms", timedelta(minutes=1, milliseconds=500)),
            ("1.5h", timedelta(minutes=90)),
            ("0s", timedelta(0)),
        ],
    )
    def test_every_form_is_understood(self, value: Any, expected: timedelta) -> None:
        assert durations.parse(value) == expected
        assert durations.seconds(value) == expected.total_seconds()

    @pytest.mark.parametrize(
        "value",
        [
            *(True, False, float("nan"), float("inf"), float("-inf"), -1, -0.001, timedelta(seconds=-1)),
            *("", " ", "90", "-5s", "5 parsecs", "s", "1h 1h", "1h,30m", "5sx", "5M", "1e3s", ".5s", "٣s", "1h 30"),
            *(10**30, 1e300, 10**400, "9" * 400 + "w", "99999999999d", "1" * 5000 + "s"),
        ],
    )
    def test_what_is_no_duration_is_a_value_error(self, value: Any) -> None:
        with pytest.raises(ValueError, match="duration"):
            durations.parse(value)

    @pytest.mark.parametrize("value", [None, [], b"5s", date(2026, 1, 1), NOW, 1j, object()])
    def test_another_type_is_a_type_error_with_the_forms(self, value: Any) -> None:
        with pytest.raises(TypeError, match='"1h 30m"'):
            durations.parse(value)

    @given(st.timedeltas(min_value=timedelta(0)))
    def test_a_timedelta_is_taken_as_it_is(self, delta: timedelta) -> None:
        assert durations.parse(delta) == delta


class TestUntil:
    def test_a_duration_counts_from_now(self) -> None:
        assert durations.until("1h 30m", NOW) == NOW + timedelta(minutes=90)
        assert durations.until(0, NOW) == NOW

    def test_an_aware_datetime_is_the_time_itself_in_utc(self) -> None:
        then = datetime(2026, 5, 1, 15, tzinfo=timezone(timedelta(hours=2)))
        assert durations.until(then, NOW) == then
        assert durations.until(then, NOW).tzinfo is UTC

    def test_the_past_is_now(self) -> None:
        assert durations.until(NOW - timedelta(days=900), NOW) == NOW

    def test_a_naive_datetime_is_refused_with_advice(self) -> None:
        naive = datetime(2030, 1, 1)  # noqa: DTZ001
        with pytest.raises(ValueError, match="timezone-aware"):
            durations.until(naive, NOW)
        with pytest.raises(ValueError, match="timezone-aware"):
            durations.until(5, naive)

    @pytest.mark.parametrize(
        "value", [timedelta.max, "500000w", datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))]
    )
    def test_what_is_after_the_last_year_is_refused(self, value: Any) -> None:
        with pytest.raises(ValueError, match="9999"):
            durations.until(value, NOW)

    @pytest.mark.parametrize(
        "value", [float("inf"), timedelta.max, "500000w", datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))]
    )
    def test_a_wait_for_what_is_after_the_last_year_never_ends(self, value: Any) -> None:
        never = durations.due(value, NOW)
        assert never == durations.NEVER
        for hours in (-12, 14):
            assert never.astimezone(timezone(timedelta(hours=hours))).year == 9999
        assert durations.due("5m", NOW) == durations.until("5m", NOW)

    @pytest.mark.parametrize("value", [-1, True, "soon", timedelta(seconds=-1)])
    def test_no_duration_is_refused(self, value: Any) -> None:
        with pytest.raises(ValueError, match="duration"):
            durations.until(value, NOW)

    def test_a_date_is_no_time(self) -> None:
        with pytest.raises(TypeError, match="point in time"):
            durations.until(date(2026, 1, 1), NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("delta", "words"),
    [
        (timedelta(0), "0 s"),
        (timedelta(microseconds=900), "0 ms"),
        (timedelta(milliseconds=350), "350 ms"),
        (timedelta(seconds=1), "1 s"),
        (timedelta(seconds=1.58), "1.5 s"),
        (timedelta(seconds=40.9), "40 s"),
        (timedelta(seconds=60), "1 min"),
        (timedelta(seconds=90), "1 min 30 s"),
        (timedelta(hours=3), "3 h"),
        (timedelta(hours=3, seconds=59), "3 h"),
        (timedelta(days=2, hours=4, minutes=59), "2 d 4 h"),
        (timedelta(days=2, minutes=59), "2 d"),
        (timedelta(weeks=2), "14 d"),
        (-timedelta(hours=3), "-3 h"),
    ],
)
def test_humanize_uses_the_two_largest_units(delta: timedelta, words: str) -> None:
    assert durations.humanize(delta) == words
