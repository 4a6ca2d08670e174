"""Django signals of what is committed, to the receivers that the project has connected."""

from __future__ import annotations

from typing import Any

from django.dispatch import Signal

from .. import signals
from ..authoring.registry import find_step, find_workflow
from ..store.committed import Happening

_SIGNALS: dict[str, Signal] = {name: value for name, value in vars(signals).items() if isinstance(value, Signal)}


class SentSignals:
    """The observer that sends them. A signal without receivers is not made."""

    def wants(self, name: str) -> bool:
        signal = _SIGNALS.get(name)
        return signal is not None and bool(signal.receivers)

    def observe(self, happening: Happening) -> None:
        _SIGNALS[happening.name].send_robust(sender=_sender(happening), **_said(happening))


def _sender(happening: Happening) -> Any:
    """The definition of what the signal is about; None where this process does not know it."""
    if happening.name.startswith(("step_", "worker_")):
        return None if happening.step is None else find_step(happening.step.name)
    return find_workflow(happening.run.workflow)


def _said(happening: Happening) -> dict[str, Any]:
    """What receivers get: which run and step, what the event says, and the exception where something was raised."""
    said = happening.context() | happening.facts
    if happening.record is not None:
        said |= happening.record.payload
        if said.get("error") is not None:
            said["exception"] = happening.exception
    return said
