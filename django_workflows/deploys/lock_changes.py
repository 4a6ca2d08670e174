"""How the code differs from a lock file, and which runs that are under way this concerns."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from ..authoring import registry
from ..eventlog import events
from ..eventlog.statuses import ACTIVE_STEP
from ..exceptions import WorkflowError
from ..models import Event, Run, Step
from ..recovery.replay_log import trace_log
from ..store.event_log import read

#: runs that are looked into one by one, to see whether their arguments fit or which way they went
_LOOKED_INTO = 2_000


@dataclass(frozen=True, slots=True)
class LockDrift:
    """``severity``: ``error`` (runs would be blocked or steps lost), ``warning`` (they may be), ``info``."""

    severity: str
    sentence: str
    advice: str

    def __str__(self) -> str:
        return f"{self.sentence}: {self.advice}"


def compare(locked: Mapping[str, Any], code: Mapping[str, Any]) -> Iterator[LockDrift]:
    """Every difference between the locked state and the code that concerns a run which is under way."""
    for name, old in locked["workflows"].items():
        new = code["workflows"].get(name)
        if new is None:
            yield from _workflow_removed(name)
        else:
            if old["steps"] is None or new["steps"] is None:
                yield from _unread(name)
            else:
                yield from _steps_changed(name, old, new)
                yield from _patches_changed(name, old, new)
            if old["arguments"] != new["arguments"]:
                yield from _workflow_arguments(name, old["arguments"], new["arguments"])
    for name, old in locked["steps"].items():
        if name not in code["steps"]:
            yield from _definition_removed(name)
        elif old["arguments"] != code["steps"][name]["arguments"]:
            yield from _step_arguments(name, old["arguments"], code["steps"][name]["arguments"])


def _active(workflow: str) -> QuerySet[Run]:
    found: QuerySet[Run] = Run.objects.active().filter(workflow=workflow)
    return found


def _runs(count: int, verb: str = "are") -> str:
    """``1 run is``, ``12 runs are``."""
    singular = {"are": "is", "have": "has", "wait": "waits", "go": "goes"}[verb]
    return f"{count} run {singular}" if count == 1 else f"{count} runs {verb}"


def _workflow_removed(name: str) -> Iterator[LockDrift]:
    count = _active(name).count()
    if count:
        yield LockDrift(
            "error",
            f"workflow `{name}` was removed while {_runs(count)} under way",
            "keep it until they have ended, or cancel them",
        )


def _unread(workflow: str) -> Iterator[LockDrift]:
    count = _active(workflow).filter(started_at__isnull=False).count()
    if count:
        yield LockDrift(
            "warning",
            f"the source of `{workflow}` could not be read, so its steps are not compared while {_runs(count)} under way",
            "deploy the .py files, or see with `workflows verify --replay` that the runs fit",
        )


def _steps_changed(workflow: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[LockDrift]:
    for step in sorted(set(old["steps"]) - set(new["steps"])):
        count = _active(workflow).filter(steps__name=step).distinct().count()
        if count:
            yield LockDrift(
                "error",
                f"step `{step}` was removed from `{workflow}` while {_runs(count)} past it",
                "keep it or use patched()",
            )
    for child in sorted(set(old["children"]) - set(new["children"])):
        count = _active(workflow).filter(children__workflow=child).distinct().count()
        if count:
            yield LockDrift(
                "error",
                f"child `{child}` was removed from `{workflow}` while {_runs(count)} past it",
                "keep it or use patched()",
            )
    added = sorted(set(new["steps"]) - set(old["steps"])) + sorted(set(new["children"]) - set(old["children"]))
    if added and set(new["patches"]) <= set(old["patches"]):
        count = _active(workflow).filter(started_at__isnull=False).count()
        if count:
            yield LockDrift(
                "warning",
                f"{', '.join(f'`{name}`' for name in added)} came into `{workflow}` while {_runs(count)} under way",
                "those that are past its place would be blocked; guard it with patched(), or see with "
                "`workflows verify --replay` that none is",
            )


def _patches_changed(workflow: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[LockDrift]:
    for patch in sorted(set(old["patches"]) - set(new["patches"])):
        recorded = Event.objects.filter(correlation_id=f"patch:{patch}", type=events.PatchRecorded.type)
        active = _active(workflow).filter(started_at__isnull=False)
        count = active.exclude(pk__in=recorded.values("run_id")).count()
        if count:
            yield LockDrift(
                "warning",
                f'patched("{patch}") was removed from `{workflow}` while {_runs(count)} under way that may have gone '
                "the old way",
                "see with `workflows verify --replay` that they fit, or bring it back",
            )


def _workflow_arguments(name: str, old: str, new: str) -> Iterator[LockDrift]:
    workflow = registry.find_workflow(name)
    assert workflow is not None
    rows = _active(name).order_by("-pk").only("input")[:_LOOKED_INTO]
    count = sum(not _fits(workflow.signature, run) for run in rows)
    if count:
        yield LockDrift(
            "error",
            f"`{name}{old}` became `{new}` while {_runs(count)} under way whose arguments do not fit that",
            "give new parameters a default, and keep old ones",
        )


def _definition_removed(name: str) -> Iterator[LockDrift]:
    count = Step.objects.filter(name=name, status__in=sorted(ACTIVE_STEP)).count()
    if count:
        yield LockDrift(
            "error",
            f"step `{name}` is defined nowhere while {count} of it {'is' if count == 1 else 'are'} to be executed",
            "keep its definition until they are done",
        )


def _step_arguments(name: str, old: str, new: str) -> Iterator[LockDrift]:
    step = registry.find_step(name)
    assert step is not None
    waiting = Step.objects.filter(name=name, status__in=sorted(ACTIVE_STEP)).only("input")
    count = sum(not _fits(step.signature, row) for row in waiting[:_LOOKED_INTO])
    if count:
        yield LockDrift(
            "error",
            f"`{name}{old}` became `{new}` while {count} of it {'is' if count == 1 else 'are'} to be executed whose "
            "arguments do not fit that",
            "give new parameters a default, and keep old ones",
        )


def _fits(signature: inspect.Signature, row: Run | Step) -> bool:
    try:
        signature.bind(*row.input["args"], **row.input["kwargs"])
    except TypeError:
        return False
    return True


# --- patches that may go ---------------------------------------------------------------------------------------------


def patch_states(code: Mapping[str, Any]) -> Iterator[LockDrift]:
    """Of each ``patched()`` in the code, whether a run that is under way still goes the old way. Replays those runs."""
    for name, workflow in code["workflows"].items():
        if workflow["patches"]:
            old_ways, unknown = _old_ways(name)
            for patch in workflow["patches"]:
                yield _patch_state(name, patch, old_ways.get(patch, 0), unknown)


def _patch_state(workflow: str, patch: str, count: int, unknown: int) -> LockDrift:
    call = f'patched("{patch}") in `{workflow}`'
    if count:
        return LockDrift("info", f"{call}: {_runs(count, 'go')} the old way", "keep it until they have ended")
    if unknown:
        return LockDrift(
            "info", f"{call}: {_runs(unknown)} under way that cannot be asked which way they go", "keep it"
        )
    return LockDrift("info", f"{call}: no run goes the old way", "the call and the old way can be removed")


def _old_ways(name: str) -> tuple[dict[str, int], int]:
    """How many active runs go the old way, by patch; and how many could not be asked."""
    workflow = registry.find_workflow(name)
    assert workflow is not None
    counts: dict[str, int] = {}
    active = _active(name).filter(started_at__isnull=False).order_by("pk")
    chosen = list(active.values_list("pk", flat=True)[: _LOOKED_INTO + 1])
    unknown = max(0, len(chosen) - _LOOKED_INTO)
    for run_id in chosen[:_LOOKED_INTO]:
        try:
            log = read(run_id)
            trace = trace_log(run_id, workflow, log)
        except (WorkflowError, IndexError):
            unknown += 1
            continue
        unknown += trace.divergence is not None
        for patch, new_way in trace.patches.items():
            counts[patch] = counts.get(patch, 0) + (not new_way)
    return counts, unknown
