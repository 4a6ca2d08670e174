"""Rules 2 to 5: the lives of steps, waits, hooks and tokens as the log tells them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from ..authoring.registry import find_step
from ..eventlog import events
from ..eventlog.events import CREATIONS, RUN_TERMINALS, STEP_TERMINALS, WAIT_TERMINALS
from ..models import Hook
from ..store.code_version import code_version
from .violation import LoggedEvent, Subject, Violation


def check_creations(subject: Subject) -> Iterator[Violation]:
    """Every entity is created once, before all else that is said of it; a hook is created or in conflict."""
    created: dict[str, LoggedEvent] = {}
    for event in subject.events:
        entity = event.record.correlation_id
        if event.type in CREATIONS:
            if entity in created:
                first = created[entity]
                what = f"event {event.sequence} ({event.type}) creates {entity} again, after event {first.sequence}"
                yield subject.violation(_rule_of(event), what)
            created.setdefault(entity, event)
        elif event.type.startswith(("step_", "wait_", "hook_", "child_")) and entity not in created:
            yield subject.violation(
                _rule_of(event), f"event {event.sequence} ({event.type}) is about {entity} before its creation"
            )


def _rule_of(event: LoggedEvent) -> int:
    return {"wait": 3, "hook": 4}.get(event.type.partition("_")[0], 2)


# --- steps -----------------------------------------------------------------------------------------------------------


def check_steps(subject: Subject) -> Iterator[Violation]:
    """Rule 2: each step's events tell one life: starts, failures and an end in their order, within its budget."""
    for created in subject.created(events.StepCreated.type):
        yield from _StepHistory(subject, created).violations()


class _StepHistory:
    """Walks the events of one step. ``running`` is the number of the running attempt, 0 for none."""

    def __init__(self, subject: Subject, created: LoggedEvent) -> None:
        self.subject = subject
        self.id = created.record.correlation_id
        self.events = [event for event in subject.of(self.id) if event.sequence > created.sequence]
        self.attempts = self.running = self.failures = 0
        self.not_before = created.at
        self.ended_by: LoggedEvent | None = None

    def violations(self) -> Iterator[Violation]:
        for event in self.events:
            if event.type == events.RunRetried.type:
                self.failures, self.not_before = 0, event.at
                if self.ended_by is not None and self.ended_by.sequence in event.skipped:
                    self.ended_by = None
            elif event.type.startswith("step_"):
                yield from self._judge(event)
        policy = getattr(find_step(_step_name(self.subject, self.id)), "policy", None)
        # A deploy may have changed the budget; only the code that ran knows it.
        same_code = self.subject.run.code_version == code_version()
        if policy is not None and same_code and self.failures > policy.max_retries + 1:
            yield self._violation(f"failed {self.failures} times with max_retries={policy.max_retries}")

    def _judge(self, event: LoggedEvent) -> Iterator[Violation]:
        if self.ended_by is not None:
            yield self._violation(
                f"has event {event.sequence} ({event.type}) after its end, event {self.ended_by.sequence}"
            )
            return
        if event.type == events.StepStarted.type:
            yield from self._judge_start(event)
            return
        if event.type not in (events.StepRetrying.type, *STEP_TERMINALS):
            return  # it ends no attempt
        number = event.record.payload.get("attempt")
        if number is not None and number != self.running:
            running = f"attempt {self.running} is running" if self.running else "no attempt is running"
            yield self._violation(f"has event {event.sequence} ({event.type}) of attempt {number} while {running}")
        self.failures += _is_failure(event)
        self.running = 0
        if event.type == events.StepRetrying.type:
            self.not_before = event.record.payload["retry_at"] or event.at
        elif event.type in STEP_TERMINALS:
            self.ended_by = event

    def _judge_start(self, event: LoggedEvent) -> Iterator[Violation]:
        number = event.record.payload["attempt"]
        if self.running:
            yield self._violation(f"is started by event {event.sequence} while attempt {self.running} is running")
        if number != self.attempts + 1:
            yield self._violation(f"has attempt {number} after {self.attempts} starts (event {event.sequence})")
        if event.at < self.not_before:
            yield self._violation(
                f"is started by event {event.sequence} before its time, {self.not_before.isoformat()}"
            )
        self.attempts += 1
        self.running = number

    def _violation(self, what: str) -> Violation:
        return self.subject.violation(2, f"{self.id} {what}")


def _step_name(subject: Subject, correlation_id: str) -> str:
    for event in subject.created(events.StepCreated.type):
        if event.record.correlation_id == correlation_id:
            return str(event.record.payload["name"])
    return ""


def _is_failure(event: LoggedEvent) -> bool:
    """A vanished worker is no failure, whether it led to another attempt or, after too many, to the step's end."""
    payload = event.record.payload
    if event.type == events.StepRetrying.type:
        return not payload.get("lost")
    if event.type == events.StepFailed.type:
        return not str((payload.get("error") or {}).get("type", "")).endswith("WorkerLostError")
    return False


# --- waits -----------------------------------------------------------------------------------------------------------


def check_waits(subject: Subject) -> Iterator[Violation]:
    """A wait ends at most once, and completes not before its time unless it was woken."""
    for created in subject.created(events.WaitCreated.type):
        entity, due_at = created.record.correlation_id, created.record.payload["due_at"]
        ended: LoggedEvent | None = None
        for event in subject.of(entity):
            if event.type == events.RunRetried.type and ended is not None and ended.sequence in event.skipped:
                ended = None
            if event.type not in WAIT_TERMINALS:
                continue
            if ended is not None:
                yield subject.violation(
                    3, f"{entity} has event {event.sequence} ({event.type}) after its end, event {ended.sequence}"
                )
            if event.type == events.WaitCompleted.type and not event.record.payload["woken"] and event.at < due_at:
                yield subject.violation(
                    3, f"{entity} is completed by event {event.sequence} before {due_at.isoformat()}"
                )
            ended = event


# --- hooks and tokens ------------------------------------------------------------------------------------------------


def check_hooks(subject: Subject) -> Iterator[Violation]:
    """A hook receives only between its creation and its disposal or the run's end, and is disposed at most once."""
    conflicts = {event.record.correlation_id for event in subject.created(events.HookConflict.type)}
    for entity in sorted(conflicts):
        for event in subject.of(entity):
            if event.type in (events.HookReceived.type, events.HookDisposed.type):
                yield subject.violation(4, f"{entity} lost its token and has event {event.sequence} ({event.type})")
    for created in subject.created(events.HookCreated.type):
        entity = created.record.correlation_id
        closed: LoggedEvent | None = None
        for event in subject.of(entity):
            if event.type == events.RunRetried.type and closed is not None:
                reopened = closed.type in RUN_TERMINALS or closed.sequence in event.skipped
                closed = None if reopened else closed
            elif event.type in (events.HookReceived.type, events.HookDisposed.type) and closed is not None:
                yield subject.violation(
                    4, f"{entity} has event {event.sequence} ({event.type}) after event {closed.sequence} closed it"
                )
            elif event.type == events.HookDisposed.type or event.type in RUN_TERMINALS:
                closed = event


def check_tokens(subjects: Iterable[Subject]) -> Iterator[Violation]:
    """Rule 5: a token has one active owner, and an ended run owns none."""
    for subject in subjects:
        active = [hook for hook in subject.hooks if hook.disposed_at is None]
        if subject.ended:
            for hook in active:
                yield subject.violation(5, f"{hook.correlation_id} holds its token after the end of the run")
        yield from _shared_tokens(subject, {hook.token for hook in active})


def _shared_tokens(subject: Subject, tokens: set[str]) -> Iterator[Violation]:
    """Judged by one look at the table: since the run was read, its tokens may have gone to others, or to its next hook."""
    holders: dict[str, list[Hook]] = defaultdict(list)
    for hook in Hook.objects.active().filter(token__in=tokens):
        holders[hook.token].append(hook)
    for hooks in holders.values():
        if len(hooks) > 1:
            for other in hooks:
                if other.run_id != subject.run.id:
                    yield subject.violation(5, f"a token is held by {other.run_id} ({other.correlation_id}), too")


RULES = (check_creations, check_steps, check_waits, check_hooks, lambda subject: check_tokens([subject]))
