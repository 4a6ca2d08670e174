"""``cron()`` and ``every()``: when a workflow is to be started again and again.

Declaring checks nothing, so that a module with a typing error in a schedule can still be imported; ``problems()`` says
what is wrong, for the system checks and for ``create_schedule``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from ..exceptions import WorkflowError
from ..serialization import dumps
from ..values import durations
from ..values.cron import Cron, Every
from ..values.durations import Duration
from ..values.validation import check_text, naming
from .options import StartOptions

#: what to do when a tick comes while an earlier run of the schedule has not ended; the first is the default
OVERLAPS = ("skip", "queue", "queue_all", "cancel", "allow")
#: what to do with ticks that no worker was there for; the first is the default
CATCHUPS = ("latest", "all", "none")
#: characters of a schedule's name: with the tick's time it makes an idempotency key of at most 255
MAX_NAME = 200


class Startable(Protocol):
    """What a schedule needs to know of its workflow."""

    name: str

    def check_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSpec:
    """When a workflow is started, with which arguments, and what happens to ticks that meet or miss something.

    ``cron``: an expression of five fields, in the zone ``tz`` (None: the project's ``TIME_ZONE``), or ``every``: an
    interval. ``name`` parts the schedules of one workflow. ``options``: those of ``.using()``. Durations are seconds,
    ``timedelta`` or text. ``catchup_window`` None: missed ticks are never too old to be made up.
    """

    cron: str | None = None
    every: Duration | None = None
    tz: str | None = None
    name: str | None = None
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    overlap: str = "skip"
    catchup: str = "latest"
    catchup_window: Duration | None = None
    jitter: Duration = 0
    pause_on_failure: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def problems(self, workflow: Startable, default_zone: str) -> Iterator[str]:
        """What is wrong, a sentence each; nothing when the schedule can be kept."""
        yield from _attempt(lambda: self.times(default_zone, datetime.now(UTC)))
        yield from _attempt(lambda: _one_of("overlap", self.overlap, OVERLAPS))
        yield from _attempt(lambda: _one_of("catchup", self.catchup, CATCHUPS))
        yield from _attempt(lambda: self.window)
        yield from _attempt(lambda: self.spread)
        yield from _attempt(lambda: _check_name(self.name))
        yield from _attempt(self.check_options)
        args: Any = self.args
        kwargs: Any = self.kwargs
        if isinstance(args, str) or not isinstance(args, Sequence):
            yield f"args is a list of arguments, not {args!r:.100}."
        elif not isinstance(kwargs, Mapping):
            yield f"kwargs is a dict of named arguments, not {kwargs!r:.100}."
        else:
            yield from _attempt(lambda: workflow.check_arguments(list(args), dict(kwargs)))
            yield from _attempt(lambda: dumps({"args": list(args), "kwargs": dict(kwargs)}))

    def times(self, default_zone: str, epoch: datetime) -> Cron | Every:
        """The instants of the schedule. Raises ``ValueError`` for what cannot be read or never fires."""
        if (self.cron is None) == (self.every is None):
            raise ValueError("A schedule has either cron= or every=.")
        if self.cron is not None:
            return Cron(self.cron, self.tz or default_zone)
        assert self.every is not None
        return Every(self.every, epoch)

    @property
    def window(self) -> timedelta | None:
        """How old a missed tick may be and still be made up."""
        return None if self.catchup_window is None else naming("catchup_window", durations.parse, self.catchup_window)

    @property
    def spread(self) -> timedelta:
        """Ticks are late by up to this much, each by an amount of its own."""
        return naming("jitter", durations.parse, self.jitter)

    def check_options(self) -> None:
        """Raise ``TypeError`` or ``ValueError`` for options that ``.using()`` would refuse or that a schedule sets."""
        if not isinstance(self.options, Mapping):
            raise TypeError(f"options is a dict with what .using() takes, not {self.options!r}.")
        if "idempotency_key" in self.options:
            raise ValueError("options cannot hold idempotency_key: each tick has its own.")
        StartOptions().merge(**self.options)


def cron(expression: str, *, tz: str | None = None, name: str | None = None, **given: Any) -> ScheduleSpec:
    """At the wall times of a cron expression: ``cron("0 9 * * mon-fri", tz="Europe/Berlin")``.

    Five fields: minute, hour, day of month, month, day of week; names (``mon``, ``jan``), ``L``, ``LW`` and ``#``. A
    fixed time fires once on the nights that clocks change. Further keywords: those of :class:`ScheduleSpec`.
    """
    return ScheduleSpec(cron=expression, tz=tz, name=name, **_known(given))


def every(interval: Duration, *, name: str | None = None, **given: Any) -> ScheduleSpec:
    """Each time that an interval has passed, counted from the first declaration: ``every("15m")``.

    Further keywords: those of :class:`ScheduleSpec`.
    """
    return ScheduleSpec(every=interval, name=name, **_known(given))


_GIVEN = {"args", "kwargs", "overlap", "catchup", "catchup_window", "jitter", "pause_on_failure", "options"}
assert {column.name for column in fields(ScheduleSpec)} > _GIVEN


def _known(given: dict[str, Any]) -> dict[str, Any]:
    if unknown := sorted(given.keys() - _GIVEN):
        raise TypeError(f"A schedule has no keyword {unknown[0]!r}. It has: {', '.join(sorted(_GIVEN))}.")
    return given


def check_schedules(given: Any) -> tuple[ScheduleSpec, ...]:
    """The ``schedules=`` of a workflow. Raises ``TypeError`` for what was not made by ``cron()`` or ``every()``."""
    if isinstance(given, ScheduleSpec) or not isinstance(given, list | tuple):
        raise TypeError(f"schedules is a list of cron(...) and every(...), not {given!r}.")
    for spec in given:
        if not isinstance(spec, ScheduleSpec):
            raise TypeError(f"schedules is a list of cron(...) and every(...); {spec!r} is neither.")
    return tuple(given)


def declared_name(workflow: str, spec: ScheduleSpec) -> str:
    """``<workflow>``, or ``<workflow>:<name>``."""
    return workflow if spec.name is None else f"{workflow}:{spec.name}"


def check_schedule_name(name: Any) -> str:
    """Raises ``TypeError`` and ``ValueError`` for what cannot be a schedule's name."""
    return check_text("A schedule's name", name, MAX_NAME, printable=True)


def _check_name(name: Any) -> None:
    if name is not None:
        check_schedule_name(name)


def _one_of(option: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{option} is one of {', '.join(map(repr, known))}, not {value!r}.")


def _attempt(check: Any) -> Iterator[str]:
    try:
        check()
    except (TypeError, ValueError, WorkflowError) as error:
        yield str(error)
