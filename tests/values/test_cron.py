"""When schedules fire: compared with a walk by minutes that tests each minute on its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import takewhile
from zoneinfo import ZoneInfo, available_timezones

import pytest

from django_workflows.values.cron import Cron, Every, find_zone, preview

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SINCE, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
EXPRESSIONS = (
    "30 2 * * *",
    "0 3 * * *",
    "15,45 0-2 * * *",
    "0 0 * * *",
    "*/15 * * * *",
    "0 */2 * * *",
    "59 23 L * *",
    "5 1 * * sun",
)


def iso(*texts: str) -> list[datetime]:
    return [datetime.fromisoformat(text).astimezone(UTC) for text in texts]


class TestTheNightsThatClocksChange:
    def test_a_fixed_time_in_the_gap_fires_once_at_its_end(self) -> None:
        times = preview(Cron("30 2 * * *", "Europe/Berlin"), datetime(2026, 3, 28, 12, tzinfo=UTC), 2)
        assert times == iso("2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00")

    def test_several_fixed_times_in_the_gap_fire_once(self) -> None:
        times = preview(Cron("*/10 2 * * *", "Europe/Berlin"), datetime(2026, 3, 28, 12, tzinfo=UTC), 2)
        assert times == iso("2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00")

    def test_a_fixed_time_that_comes_twice_fires_the_first_time(self) -> None:
        times = preview(Cron("30 2 * * *", "Europe/Berlin"), datetime(2026, 10, 24, 12, tzinfo=UTC), 2)
        assert times == iso("2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00")

    @pytest.mark.parametrize("expression", ["*/30 * * * *", "0,30 */1 * * *"])
    def test_hours_by_star_or_step_fire_in_both_hours_and_in_no_gap(self, expression: str) -> None:
        cron = Cron(expression, "Europe/Berlin")
        autumn = preview(cron, datetime(2026, 10, 24, 23, 45, tzinfo=UTC), 6)
        assert autumn == [datetime(2026, 10, 25, tzinfo=UTC) + n * 30 * MINUTE for n in range(6)]
        spring = preview(cron, datetime(2026, 3, 29, 0, 15, tzinfo=UTC), 3)
        assert spring == [datetime(2026, 3, 29, 0, 30, tzinfo=UTC) + n * 30 * MINUTE for n in range(3)]

    def test_asked_between_the_two_hours_a_fixed_time_does_not_fire_again(self) -> None:
        cron = Cron("30 2 * * *", "Europe/Berlin")
        assert preview(cron, datetime(2026, 10, 25, 0, 45, tzinfo=UTC), 1) == iso("2026-10-26T02:30+01:00")

    @pytest.mark.parametrize("zone", ["Australia/Lord_Howe", "America/Havana", "America/Santiago"])
    def test_zones_that_change_by_half_an_hour_or_at_midnight(self, zone: str) -> None:
        for expression in ("0 0 * * *", "45 1 * * *", "30 23 * * *"):
            days = {t.astimezone(ZoneInfo(zone)).date() for t in preview(Cron(expression, zone), SINCE, 730)}
            assert len(days) == 730


def _fields(expression: str, wall: datetime) -> bool:
    """Whether a wall time fits, read anew: stars, steps, lists, ranges, ``L`` and ``sun`` are all that occurs here."""
    minute, hour, day, _month, weekday = expression.split()
    last = (wall + timedelta(days=1)).day == 1
    return (
        wall.minute in _values(minute, 60)
        and wall.hour in _values(hour, 24)
        and (day == "*" or (day == "L" and last))
        and (weekday == "*" or wall.weekday() == 6)
    )


@lru_cache
def _values(field: str, size: int) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        if part == "*":
            found.update(range(size))
        elif step := re.fullmatch(r"\*/(\d+)", part):
            found.update(range(0, size, int(step[1])))
        else:
            low, _, high = part.partition("-")
            found.update(range(int(low), int(high or low) + 1))
    return frozenset(found)


def _walk(expression: str, zone: ZoneInfo, since: datetime, until: datetime) -> Iterator[datetime]:
    """Each minute by itself: is it shown as a wall time that fits, or does it end a gap in which one was left out?"""
    fixed = "*" not in expression.split()[1]
    before = (since - MINUTE).astimezone(zone).replace(tzinfo=None)
    moment = since
    while moment < until:
        local = moment.astimezone(zone)
        wall = local.replace(tzinfo=None)
        fits = _fields(expression, wall) and not (fixed and local.fold)
        left_out = before + MINUTE
        while fixed and left_out < wall:
            fits = fits or _fields(expression, left_out)
            left_out += MINUTE
        if fits:
            yield moment
        before, moment = wall, moment + MINUTE


def _changes(zone: ZoneInfo) -> tuple[datetime, ...]:
    """When the zone's offset changes, to the hour before."""
    found, moment = [], SINCE
    while moment < UNTIL:
        later = moment + 24 * HOUR
        if moment.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            hours = (moment + n * HOUR for n in range(24))
            found += [h for h in hours if h.astimezone(zone).utcoffset() != (h + HOUR).astimezone(zone).utcoffset()]
        moment = later
    return tuple(found)


@pytest.fixture(scope="module")
def nights() -> dict[tuple[object, ...], tuple[str, datetime]]:
    """One zone for each different night in ten years: where it is, and what the clock does."""
    found: dict[tuple[object, ...], tuple[str, datetime]] = {}
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        for change in _changes(zone):
            offsets = change.astimezone(zone).utcoffset(), (change + HOUR).astimezone(zone).utcoffset()
            found.setdefault((change, *offsets), (name, change))
    return found


def test_every_night_of_every_zone_in_ten_years_is_what_a_walk_by_minutes_finds(
    nights: dict[tuple[object, ...], tuple[str, datetime]],
) -> None:
    assert len(nights) > 100
    for number, (name, change) in enumerate(nights.values()):
        since, until = change - 3 * HOUR, change + 5 * HOUR
        for expression in (EXPRESSIONS[number % len(EXPRESSIONS)], EXPRESSIONS[(number * 3 + 1) % len(EXPRESSIONS)]):
            walked = list(_walk(expression, ZoneInfo(name), since, until))
            fired = list(takewhile(lambda t, end=until: t < end, Cron(expression, name).after(since - MINUTE)))  # type: ignore[misc]
            assert fired == walked, (name, expression, change)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_asked_at_any_minute_of_a_night_the_answer_is_what_is_left_of_it(expression: str) -> None:
    cron = Cron(expression, "America/Havana")
    since = datetime(2026, 11, 1, 2, tzinfo=UTC)
    whole = preview(cron, since, 60)
    for minutes in range(0, 8 * 60, 7):
        moment = since + minutes * MINUTE
        assert preview(cron, moment, 3) == [t for t in whole if t > moment][:3]


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * *",
        "30 2 30 2 *",
        "0 0 31 2,4 *",
        "61 * * * *",
        "x * * * *",
        "*/0 * * * *",
        None,
        5,
        "\x00",
    ],
)
def test_an_expression_that_cannot_fire_says_so(expression: object) -> None:
    with pytest.raises(ValueError, match=r"cron expression|never fires|printable"):
        Cron(expression, "UTC")  # type: ignore[arg-type]


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "Europe", "Europe/", "a\x00b", None, "x" * 300])
def test_a_zone_that_is_none_says_so(zone: object) -> None:
    with pytest.raises(ValueError, match="time zone"):
        find_zone(zone)  # type: ignore[arg-type]


class TestIntervals:
    EPOCH = datetime(2026, 1, 1, 0, 7, tzinfo=UTC)

    def test_are_counted_from_the_first_declaration_in_elapsed_time(self) -> None:
        every = Every("15m", self.EPOCH)
        assert preview(every, self.EPOCH, 2) == [self.EPOCH + 15 * MINUTE, self.EPOCH + 30 * MINUTE]
        assert preview(every, self.EPOCH + 31 * MINUTE, 1) == [self.EPOCH + 45 * MINUTE]
        assert preview(every, self.EPOCH - HOUR, 1) == [self.EPOCH]

    @pytest.mark.parametrize("interval", ["0s", 0, "500ms", -1, "soon", float("inf")])
    def test_an_interval_that_is_none_says_so(self, interval: object) -> None:
        with pytest.raises(ValueError, match=r"interval|duration"):
            Every(interval, self.EPOCH)  # type: ignore[arg-type]

    def test_end_with_the_year_9999(self) -> None:
        assert len(preview(Every(timedelta(days=300_000), self.EPOCH), self.EPOCH, 100)) < 100
        assert preview(Cron("0 0 * * *", "UTC"), datetime(9999, 12, 31, 12, tzinfo=UTC), 1) == []
