"""Middleware: what a step needs to know of whoever started its run, such as the tenant, the language or a request's id.

``capture()`` is called at ``start()``, and what it gives is recorded with the run; ``step()`` surrounds each attempt at a step
and is given that. Children, forks, continuations and the runs of a schedule inherit it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from . import conf


@dataclass(frozen=True, slots=True)
class AttemptInfo:
    """The attempt that ``step()`` surrounds. ``attempt`` counts from 1; ``step_id`` is the same for all of a step's."""

    run_id: str
    workflow: str
    step: str
    step_id: str
    attempt: int
    queue: str
    worker: str


class Middleware:
    """Base class: override any of the methods. One instance serves a process, from several threads at once."""

    def capture(self) -> dict[str, Any]:
        """What to record with a run that is started now: values that can be stored, by name. An error fails the start."""
        return {}

    def step(self, attempt: AttemptInfo, context: Mapping[str, Any]) -> AbstractContextManager[Any]:
        """What to do around an attempt. ``context``: all that was captured for its run. An error fails the attempt."""
        return nullcontext()

    def astep(self, attempt: AttemptInfo, context: Mapping[str, Any]) -> AbstractAsyncContextManager[Any]:
        """As :meth:`step`, around an attempt of an ``async def`` step; by default through :meth:`step`."""
        return self._through_step(attempt, context)

    @asynccontextmanager
    async def _through_step(self, attempt: AttemptInfo, context: Mapping[str, Any]) -> AsyncIterator[None]:
        with self.step(attempt, context):
            yield


_made: tuple[Sequence[str], tuple[Middleware, ...]] = ((), ())


def installed() -> tuple[Middleware, ...]:
    """The instances of ``MIDDLEWARE``, outermost first; made once.

    Raises:
        ImproperlyConfigured: a path leads to no ``Middleware``, or making one failed.
    """
    global _made
    paths = conf.settings.MIDDLEWARE
    if _made[0] is not paths:
        _made = (paths, tuple(_make(path) for path in paths))
    return _made[1]


def _make(path: str) -> Middleware:
    name = f"{conf.NAME}['MIDDLEWARE']"
    try:
        made = import_string(path)()
    except Exception as error:
        raise ImproperlyConfigured(f"{name}: {path!r} cannot be used: {error}") from error
    if not isinstance(made, Middleware):
        raise ImproperlyConfigured(f"{name}: {path!r} is no django_workflows.middleware.Middleware.")
    return made
