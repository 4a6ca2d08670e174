"""When a schedule fires: cron expressions in a time zone, and fixed intervals. Pure arithmetic over instants.

A cron expression names *wall times*. ``cronsim`` says which wall times match, without a zone; this module says at which
instants a clock on that wall shows them:

* a wall time that exists once is that instant;
* where the clock is put back a wall time comes twice. An expression with a fixed hour fires the first time only; where
  the hour is ``*`` or by step, it fires both times;
* where the clock is put forward a wall time is left out. An expression with a fixed hour fires once, at the first instant
  after the gap; where the hour is ``*`` or by step, it does not fire.

So ``30 2 * * *`` fires once on each day of the year, and ``*/30 * * * *`` every half hour that passes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from . import clock, durations
from .durations import Duration

_FIELDS = ("minute", "hour", "day of month", "month", "day of week")
#: how soon a clock may be put back, by up to 3 hours and by up to a day: then earlier wall times come again
_SOON = (timedelta(hours=3), timedelta(hours=25))


class Cron:
    """A cron expression in a zone: five fields, names (``mon``, ``jan``), ``L``, ``LW`` and ``#``.

    Raises ``ValueError`` for an expression that cannot be read or never fires, and for a zone that is unknown.
    """

    __slots__ = ("_fixed_hour", "expression", "zone")

    def __init__(self, expression: str, zone: str) -> None:
        self.expression = " ".join(_text("A cron expression", expression).split())
        self.zone = find_zone(zone)
        fields = self.expression.split(" ")
        if len(fields) != len(_FIELDS):
            raise ValueError(
                f"{expression!r} has {len(fields)} fields; a cron expression has five: {', '.join(_FIELDS)}."
            )
        self._fixed_hour = "*" not in fields[1] and "/" not in fields[1]
        if next(self._walls(datetime(2024, 1, 1)), None) is None:  # noqa: DTZ001 - a wall time
            raise ValueError(f"{expression!r} never fires: no date fits its fields.")

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The instants after ``moment``, in UTC, in order, without end."""
        clock.require_aware(moment)
        pending: list[datetime] = []
        last = moment.astimezone(UTC)
        for wall in self._walls(self._earliest_wall(last)):
            instants = self._instants(wall)
            for instant in instants:
                heapq.heappush(pending, instant)
            # Later wall times are shown no earlier than this one was shown first.
            reached = instants[0] if instants else None
            while pending and reached is not None and pending[0] <= reached:
                instant = heapq.heappop(pending)
                if instant > last:
                    last = instant
                    yield instant

    def _earliest_wall(self, moment: datetime) -> datetime:
        """No instant after ``moment`` is shown as an earlier wall time than this."""
        try:
            soon = [(moment + ahead).astimezone(self.zone).utcoffset() for ahead in _SOON]
        except OverflowError:
            soon = []
        local = moment.astimezone(self.zone)
        offset = local.utcoffset() or timedelta(0)
        put_back = max((offset - (later or timedelta(0)) for later in soon), default=timedelta(0))
        return local.replace(tzinfo=None) - max(put_back, timedelta(0))

    def _walls(self, start: datetime) -> Iterator[datetime]:
        """The wall times after ``start`` that the fields match."""
        try:
            yield from CronSim(self.expression, start)
        except CronSimError as error:
            raise ValueError(f"{self.expression!r} is not a cron expression: {str(error).lower()}.") from None
        except OverflowError:  # after the year 9999
            return

    def _instants(self, wall: datetime) -> list[datetime]:
        """The instants at which the expression fires for this wall time; the first is the earliest."""
        first, second = (wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if first == second:
            return [first]
        if first < second:
            return [first] if self._fixed_hour else [first, second]
        return [_end_of_gap(second, first, self.zone)] if self._fixed_hour else []


def _end_of_gap(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The instant between the two at which the zone's offset changes, to the second."""
    old = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) // 2
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


class Every:
    """A fixed interval of elapsed time, counted from ``epoch``. Raises ``ValueError`` for less than a second."""

    __slots__ = ("epoch", "interval")

    def __init__(self, interval: Duration, epoch: datetime) -> None:
        self.interval = durations.parse(interval)
        if self.interval < timedelta(seconds=1):
            raise ValueError(f"An interval is at least a second; {interval!r} is not.")
        self.epoch = clock.require_aware(epoch).astimezone(UTC)

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The instants after ``moment``, in UTC, in order, until the year 9999."""
        passed = (clock.require_aware(moment).astimezone(UTC) - self.epoch) // self.interval
        try:
            instant = self.epoch + max(passed, 0) * self.interval
            while True:
                if instant > moment:
                    yield instant
                instant += self.interval
        except OverflowError:
            return


def preview(times: Cron | Every, after: datetime, count: int) -> list[datetime]:
    """The next ``count`` instants after ``after``, in UTC."""
    return list(islice(times.after(after), count))


@lru_cache(maxsize=1_000)
def find_zone(name: str) -> ZoneInfo:
    """The IANA zone of this name. Raises ``ValueError``."""
    try:
        return ZoneInfo(_text("A time zone", name))
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError; a folder's name is an OSError
        raise ValueError(f"{name!r} is not a time zone. Use a name such as 'Europe/Berlin' or 'UTC'.") from None


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} is a string, not {value!r}.")
    if len(value) > 255 or not value.isprintable():
        raise ValueError(f"{what} has up to 255 printable characters; {value[:60]!r} does not.")
    return value
