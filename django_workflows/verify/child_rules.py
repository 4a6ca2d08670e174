"""Rules 6 and 8 between runs: a parent's log says how its child ended, and it says so in time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from .. import conf
from ..eventlog import events
from ..inspection.workers import OVERDUE_AFTER
from ..models import Outbox, Run
from ..services.children import current_children
from .fold import same
from .violation import LoggedEvent, Subject, Violation


def check_child_ends(subject: Subject) -> Iterator[Violation]:
    """Rule 6: the end of a child in its parent's log is the one in the child's row."""
    reported = {event.record.payload["child"]: event for event in subject.created(*events.CHILD_TERMINALS)}
    for event in reported.values():
        child = _child(subject, event)
        if child is None or child.life:  # pruned; or retried since: it may have ended otherwise by now
            continue
        if child.parent_id != subject.run.id:
            yield subject.violation(6, f"event {event.sequence} is about {child.id}, the child of another run")
        elif _status_of(event) != child.status:
            yield subject.violation(
                6, f"event {event.sequence} says {_status_of(event)} of {child.id}, which is {child.status}"
            )
        elif event.type == events.ChildCompleted.type and not same(event.record.payload["output"], child.output):
            yield subject.violation(6, f"event {event.sequence} holds another output than {child.id}")


def _child(subject: Subject, event: LoggedEvent) -> Run | None:
    """The run that the event is about: of a chain that continued as new, the last one. None for a fork's copies."""
    if subject.run.forked_from:
        return None
    correlation_id = event.record.correlation_id
    current = current_children(subject.run.id, [correlation_id]).get(correlation_id)
    return current or Run.objects.filter(pk=event.record.payload["child"]).first()


def _status_of(event: LoggedEvent) -> str:
    if event.type == events.ChildCompleted.type:
        return "completed"
    return "cancelled" if event.record.payload["cancelled"] else "failed"


def check_notified(subject: Subject) -> Iterator[Violation]:
    """Rule 8: an active run has recorded the end of every child that ended a while ago, or the outbox holds it."""
    started = {event.record.payload["child"] for event in subject.created(events.ChildStarted.type)}
    reported = {event.record.payload["child"] for event in subject.created(*events.CHILD_TERMINALS)}
    if subject.ended or not started - reported:
        return
    since = subject.now - OVERDUE_AFTER - timedelta(seconds=conf.settings.POLL_INTERVAL)
    ended = Run.objects.ended().filter(pk__in=started - reported, completed_at__lt=since)
    continued = Run.objects.filter(continued_from__in=started - reported).values("continued_from")
    queued = set(Outbox.objects.filter(target=subject.run.id).values_list("run_id", flat=True))
    for child in ended.filter(parent_id=subject.run.id).exclude(pk__in=continued):
        if child.id not in queued:
            yield subject.violation(8, f"{child.id} has ended, and its parent was never notified")


RULES = (check_child_ends, check_notified)
