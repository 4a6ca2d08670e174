"""Logs made by hand, with rows that fit them, for the validator to judge; a test then breaks one thing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django_workflows.eventlog import events
from django_workflows.eventlog.events import Event, Record
from django_workflows.models import Hook, Run, Step, Wait
from django_workflows.verify import LoggedEvent, Subject
from django_workflows.verify.fold import fold

START = datetime(2026, 11, 20, 9, tzinfo=UTC)
RUN_ID = "wrun_made_by_hand"
ERROR = {"type": "ValueError", "message": "no", "args": ["no"], "traceback": "", "cause": None}


class Story:
    """``log`` appends events, a second apart; ``subject`` gives them with rows that fit."""

    def __init__(self, workflow: str = "tests.nobody_knows_it", args: list[Any] | None = None) -> None:
        self.events: list[LoggedEvent] = []
        self.life = 0
        created = events.RunCreated(workflow, args or [], {}, "default", 0, {}, None, None, "5eed")
        self.log(created)

    def log(self, event: Event, correlation_id: str = "", *, after: float = 1.0, key: str | None = None) -> Story:
        last = self.events[-1].at if self.events else START - timedelta(seconds=after)
        self._append(event, correlation_id, last + timedelta(seconds=after), key)
        return self

    def _append(self, event: Event, correlation_id: str, at: datetime, key: str | None) -> None:
        record = Record(len(self.events) + 1, event.type, correlation_id, event.encode(), at)
        self.events.append(LoggedEvent(record, self.life, key))

    # --- words for what is logged often ------------------------------------------------------------------------------

    def begin(self) -> Story:
        return self.log(events.RunStarted("worker_1", "v1"))

    def step(self, id: str, name: str = "tests.a_step", args: list[Any] | None = None) -> Story:
        return self.log(events.StepCreated(name, args or [], {}, "default"), id)

    def started(self, id: str, attempt: int = 1, *, after: float = 1.0) -> Story:
        return self.log(events.StepStarted(attempt, "worker_1"), id, after=after)

    def completed(self, id: str, attempt: int = 1, output: Any = None) -> Story:
        return self.log(events.StepCompleted(attempt, output), id)

    def failed(self, id: str, attempt: int = 1) -> Story:
        return self.log(events.StepFailed(attempt, ERROR), id)

    def retrying(self, id: str, attempt: int = 1, *, wait: float = 0.0, lost: bool = False) -> Story:
        at = self.events[-1].at + timedelta(seconds=1 + wait)
        return self.log(events.StepRetrying(attempt, ERROR, at, lost), id)

    def wait(self, id: str, seconds: float) -> Story:
        return self.log(events.WaitCreated(self.events[-1].at + timedelta(seconds=1 + seconds)), id)

    def hook(self, id: str, token: str) -> Story:
        return self.log(events.HookCreated(token, False, None), id)

    def received(self, id: str, payload: Any = None, key: str | None = None) -> Story:
        return self.log(events.HookReceived(payload, key), id, key=key)

    def end(self, output: Any = None) -> Story:
        return self.log(events.RunCompleted(output))

    def fail(self) -> Story:
        return self.log(events.RunFailed(ERROR, "user_error"))

    def retried(self, skipped: list[int]) -> Story:
        self.life += 1
        return self.log(events.RunRetried(skipped))

    # --- breaking it -------------------------------------------------------------------------------------------------

    def change(self, sequence: int, **changes: Any) -> Story:
        """Change an event: ``sequence``, ``life`` and ``idempotency_key``, or ``type``, ``data``, ``created_at``."""
        event = self.events[sequence - 1]
        own = {name: changes.pop(name) for name in ("life", "idempotency_key") if name in changes}
        record = event.record
        names = ("sequence", "type", "correlation_id", "data", "created_at")
        values = {name: changes.get(name, getattr(record, name)) for name in names}
        self.events[sequence - 1] = replace(event, record=Record(**values), **own)
        return self

    # --- rows that fit -----------------------------------------------------------------------------------------------

    def subject(self) -> Subject:
        folded = fold(self.events)
        last = self.events[-1]
        run = Run(id=RUN_ID, last_sequence=len(self.events), last_event_at=last.at, seed="5eed", **folded.run)
        rows: dict[str, list[Any]] = {"step": [], "wait": [], "hook": []}
        for entity_id, entity in folded.entities.items():
            columns = dict(entity.columns)
            common = {"id": f"{entity.kind}_{entity_id}", "run": run, "correlation_id": entity_id}
            common["created_at"] = entity.created.created_at
            if entity.kind == "hook":
                rows["hook"].append(Hook(**common, **columns, disposed_at=entity.closed_at))
                continue
            model: Any = Step if entity.kind == "step" else Wait
            rows[entity.kind].append(model(**common, **columns, status=entity.state, completed_at=entity.closed_at))
        if run.status in ("pending", "running"):
            open_waits = [wait.due_at for wait in rows["wait"] if wait.status == "waiting"]
            run.wake_at = min(open_waits, default=last.at if run.status == "pending" else None)
        return Subject(run, list(self.events), last.at, rows["step"], rows["wait"], rows["hook"])
