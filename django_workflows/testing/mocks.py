"""Putting something else in a step's place, for as long as a test needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest import mock

from ..authoring import registry
from ..authoring.steps import Step
from ..values import durations
from ..values.durations import Duration

_takes: dict[str, timedelta] = {}


@contextmanager
def mock_step(
    step: Step[..., Any] | str,
    *,
    return_value: Any = None,
    side_effect: Any = None,
    takes: Duration = 0,
) -> Iterator[Any]:
    """While the block runs, the step is a mock; its name, retries and timeout stay, and so does the log's shape.

    ``return_value`` and ``side_effect`` mean what they mean to ``unittest.mock``: ``side_effect=[ConnectionError(),
    "ok"]`` fails once and succeeds when it is retried. The mock has the step's signature, so a call that does not fit
    fails; it is given to ``as``, with ``assert_called_once_with()``, ``call_count`` and so on. ``takes``: how long each
    attempt takes on the virtual clock, in any form that ``sleep()`` takes; past the step's ``timeout`` it times out.

    ``step`` is the step or its full name. Works in threads and for plain calls, too.
    """
    definition = registry.find_step(step) if isinstance(step, str) else step
    if not isinstance(definition, Step):
        raise TypeError(f"mock_step() takes a function with @step, or its full name, not {step!r}.")
    stand_in: Any = mock.create_autospec(definition.fn, return_value=return_value, side_effect=side_effect)
    stand_in.__module__ = definition.fn.__module__
    earlier = _takes.get(definition.name)
    _takes[definition.name] = durations.parse(takes)
    try:
        with mock.patch.object(definition, "fn", stand_in):
            yield stand_in
    finally:
        if earlier is None:
            _takes.pop(definition.name, None)
        else:
            _takes[definition.name] = earlier


def takes(definition: Step[..., Any]) -> timedelta:
    """How long an attempt at the step takes on the virtual clock."""
    return _takes.get(definition.name, timedelta(0))
