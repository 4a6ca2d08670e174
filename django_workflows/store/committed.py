"""The one seam after the commit: what has happened to runs and steps is passed on to the observers, in order.

Logs and signals are observers. They cannot change what is committed: what one raises is logged, and the others and the run
continue. They run in the thread that committed, so a slow one delays that thread. What no observer wants costs a look-up.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..eventlog import events
from ..eventlog.events import Record
from ..serialization import decode_error
from .rows import RunRow, StepRow
from .transition import Transition

logger = logging.getLogger("django_workflows.worker")

#: what observers are told, by the type of the event that says so
NAMES = {
    cls.type: cls.type
    for cls in (
        events.RunStarted,
        events.RunCompleted,
        events.RunFailed,
        events.RunCancelled,
        events.StepStarted,
        events.StepCompleted,
        events.StepRetrying,
        events.StepFailed,
        events.HookCreated,
    )
} | {events.HookReceived.type: "hook_resumed"}


@dataclass(slots=True, kw_only=True)
class Happening:
    """One thing that is committed. ``name`` is that of its signal; ``facts`` is what no event says.

    ``run`` and ``step`` are the rows as the transaction left them; ``record`` is the event, where there is one.
    """

    name: str
    run: RunRow
    step: StepRow | None = None
    record: Record | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    raised: BaseException | None = None

    @property
    def exception(self) -> BaseException | None:
        """What was raised: itself where this process has caught it, else rebuilt; None where that is not possible."""
        if self.raised is None and self.record is not None:
            error = self.record.payload.get("error")
            self.raised = decode_error(error) if isinstance(error, dict) else None
        return self.raised

    def context(self) -> dict[str, Any]:
        """Which run, step and attempt it is about, as attributes of log records."""
        found: dict[str, Any] = {"run_id": self.run.id, "workflow": self.run.workflow, "queue": self.run.queue}
        if self.step is not None:
            attempt = self.facts.get("attempt", self.step.attempt)
            found |= {"step": self.step.name, "step_id": self.step.id, "attempt": attempt, "queue": self.step.queue}
        return found


class Observer(Protocol):
    """Something that is told. It must not keep the rows: they change with the next transaction."""

    def wants(self, name: str) -> bool:
        """Whether it would do anything now with what has this name. Asked often: answer from memory."""

    def observe(self, happening: Happening) -> None: ...


#: in the order in which they are told
OBSERVERS: list[Observer] = []


def subscribe(observer: Observer) -> None:
    """Tell this observer from now on, once."""
    if observer not in OBSERVERS:
        OBSERVERS.append(observer)


def is_wanted(name: str) -> bool:
    """Whether any observer would do something with what has this name."""
    return any(observer.wants(name) for observer in OBSERVERS)


def concerns(transition: Transition) -> bool:
    """Whether any observer wants something of what the transition does."""
    names = {NAMES.get(row.record.type) for row in transition.events} | {note.name for note in transition.notes}
    return any(name is not None and is_wanted(name) for name in names)


def report(transitions: Sequence[Transition]) -> None:
    """Tell the observers what these transitions did. They are committed; never raises ``Exception``."""
    for transition in transitions:
        for happening in _happenings(transition):
            for observer in OBSERVERS:
                _tell(observer, happening)


def _tell(observer: Observer, happening: Happening) -> None:
    try:
        if observer.wants(happening.name):
            observer.observe(happening)
    except (Exception, SystemExit):  # noqa: BLE001 - handlers, filters and receivers are the project's code
        try:
            logger.exception("An observer of %s failed; the run continues.", happening.name)
        except Exception:  # noqa: BLE001, S110 - the handler of this line as well: nothing is left that could say so
            pass


def _happenings(transition: Transition) -> Iterator[Happening]:
    """What is wanted of a transition: what no event says first, then its events in order."""
    steps: dict[str, StepRow] = {}
    for note in transition.notes:
        if is_wanted(note.name):
            yield Happening(name=note.name, run=transition.run, step=note.step, facts=note.facts)
    for row in transition.events:
        record = row.record
        name = NAMES.get(record.type)
        if name is None or not is_wanted(name):
            continue
        if not steps:
            changed = (*transition.changed_steps.values(), *transition.new_steps.values())
            steps = {step.correlation_id: step for step in changed}
        step, raised = steps.get(record.correlation_id), transition.raised.get(record.sequence)
        yield Happening(name=name, run=transition.run, step=step, record=record, raised=raised)
