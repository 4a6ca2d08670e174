"""Rule 1: the log as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..eventlog import events
from ..eventlog.events import RUN_TERMINALS
from .violation import Subject, Violation


def check_sequence(subject: Subject) -> Iterator[Violation]:
    """Sequences are dense from 1 and end where the run's row says."""
    for expected, event in enumerate(subject.events, 1):
        if event.sequence != expected:
            yield subject.violation(1, f"the log has event {event.sequence} in place of event {expected}")
            return
    if len(subject.events) != subject.run.last_sequence:
        yield subject.violation(
            1, f"the log ends with event {len(subject.events)}, the run says {subject.run.last_sequence}"
        )


def check_times(subject: Subject) -> Iterator[Violation]:
    """``created_at`` never decreases, and the last is the run's ``last_event_at``."""
    for before, event in zip(subject.events, subject.events[1:], strict=False):
        if event.at < before.at:
            yield subject.violation(1, f"event {event.sequence} is older than event {before.sequence}")
    if subject.events and subject.events[-1].at != subject.run.last_event_at:
        yield subject.violation(1, "the last event's time is not the run's last_event_at")


def check_begin(subject: Subject) -> Iterator[Violation]:
    """The first event is ``run_created``, and there is no other of it."""
    if not subject.events or subject.events[0].type != events.RunCreated.type:
        yield subject.violation(1, f"the log begins with {subject.events[0].type if subject.events else 'nothing'}")
    for event in subject.events[1:]:
        if event.type == events.RunCreated.type:
            yield subject.violation(1, f"event {event.sequence} creates the run again")


def check_lives(subject: Subject) -> Iterator[Violation]:
    """At most one start and one terminal event per life; a life begins with ``run_retried`` after a failure."""
    life, starts, ends = 0, Counter[int](), Counter[int]()
    last_end = ""
    for event in subject.events:
        if event.type == events.RunRetried.type:
            if last_end != events.RunFailed.type:
                yield subject.violation(1, f"event {event.sequence} retries a run that had not failed")
            if event.life not in (life, life + 1):
                yield subject.violation(1, f"event {event.sequence} carries life {event.life} after life {life}")
            life, last_end = life + 1, ""
            continue
        if event.life != life:
            yield subject.violation(1, f"event {event.sequence} carries life {event.life} in life {life}")
        starts[life] += event.type == events.RunStarted.type
        if event.type in RUN_TERMINALS:
            ends[life] += 1
            last_end = event.type
    for counts, what in ((starts, "started"), (ends, "ended")):
        for number, count in counts.items():
            if count > 1:
                yield subject.violation(1, f"the run {what} {count} times in life {number}")


def check_after_end(subject: Subject) -> Iterator[Violation]:
    """After the end nothing but the ends of steps that were running, or ``run_retried``."""
    running: set[str] = set()
    ended = False
    for event in subject.events:
        entity = event.record.correlation_id
        if event.type == events.RunRetried.type:
            ended = False
        elif ended and event.type not in (events.StepCompleted.type, events.StepFailed.type):
            yield subject.violation(1, f"event {event.sequence} ({event.type}) is after the end of the run")
        elif ended and entity not in running:
            yield subject.violation(
                1, f"event {event.sequence} ends {entity}, which was not running, after the end of the run"
            )
        elif event.type in RUN_TERMINALS:
            ended = True
        if event.type == events.StepStarted.type:
            running.add(entity)
        elif event.type in (
            events.StepRetrying.type,
            events.StepCompleted.type,
            events.StepFailed.type,
            events.StepCancelled.type,
        ):
            running.discard(entity)


RULES = (check_sequence, check_times, check_begin, check_lives, check_after_end)
