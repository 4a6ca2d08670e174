"""The validator: what must hold of every run at every moment.

::

    1  log        sequences dense from 1, times never decreasing, one start and one end per life, nothing after the end
    2  steps      created before started, starts are attempts, none before its time, one end, attempts within budget
    3  waits      ended once, not before their time unless woken
    4  hooks      created or in conflict, receiving only while open
    5  tokens     one active owner
    6  tables     equal the fold of the log
    7  replay     the same decisions from every cut of the log, also in another process
    8  liveness   nothing overdue without an owner
    9  streams    dense, nothing after their end
    10 deliveries each in the log once

    loading ──▶ violation.Subject: one run with all that belongs to it ──▶ the rules ──▶ violation.Violation

    log_rules       1                       fold            6: a fold of its own, so as not to share the writers' mistakes
    entity_rules    2 to 5                  replay          7, here; other_process: 7, under another hash seed
    child_rules     6 and 8 between runs    liveness_rules  8, 9, and 10 within one log
    deliveries      10, from what senders were confirmed

A run that has not ended is a prefix: it is held to what its log has so far. A blocked run breaks no rule by being
blocked; :func:`blocked_runs` lists those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from django.db.models import Count

from ..authoring.registry import workflow_names
from ..exceptions import WorkflowError
from ..models import Run
from ..store import database
from . import child_rules, entity_rules, fold, liveness_rules, loading, log_rules
from .deliveries import verify_deliveries
from .other_process import replay_elsewhere
from .replay import check_replay
from .violation import LoggedEvent, Subject, Violation

__all__ = [
    "LoggedEvent",
    "Subject",
    "Violation",
    "blocked_runs",
    "count_unknown",
    "iterate_violations",
    "verify_deliveries",
    "verify_runs",
    "verify_subject",
]

Rule = Callable[[Subject], Iterable[Violation]]

RULES: tuple[Rule, ...] = (
    *log_rules.RULES,
    *entity_rules.RULES,
    *fold.RULES,
    *child_rules.RULES,
    *liveness_rules.RULES,
    check_replay,
)

#: runs, and events of them, that are sent to one child process together
_RUNS, _EVENTS = 200, 20_000
#: what a rule runs into when the log itself is damaged
_UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, WorkflowError)


def verify_runs(
    run_ids: Iterable[str] | None = None, *, replay: bool = False, since: timedelta | None = None
) -> list[Violation]:
    """Hold runs to the rules and return what is wrong, run by run.

    ``run_ids``: which; None for all, or for those created in the last ``since``. ``replay``: cut each log everywhere
    and replay it in another process, if its workflow can be imported there. One cold replay here is always done.
    """
    return list(iterate_violations(run_ids, replay=replay, since=since))


def iterate_violations(
    run_ids: Iterable[str] | None = None, *, replay: bool = False, since: timedelta | None = None
) -> Iterator[Violation]:
    """As :func:`verify_runs`, one violation at a time; memory does not grow with the number of runs."""
    first = None if since is None else database.now() - since
    batch: list[Subject] = []
    for subject in loading.load(loading.newest_first(run_ids, first)):
        yield from verify_subject(subject)
        if replay:
            batch.append(subject)
        if len(batch) >= _RUNS or sum(len(each.events) for each in batch) >= _EVENTS:
            yield from replay_elsewhere(batch)
            batch.clear()
    yield from replay_elsewhere(batch)


def verify_subject(subject: Subject, rules: Iterable[Rule] = RULES) -> Iterator[Violation]:
    """Hold one run to the rules. A log that cannot be read breaks rule 1."""
    for rule in rules:
        try:
            yield from list(rule(subject))
        except _UNREADABLE as error:
            what = f"the log cannot be read ({type(error).__name__}: {error})"
            violation = subject.violation(1, what)
            yield violation


def count_unknown(run_ids: Iterable[str] | None = None, since: timedelta | None = None) -> dict[str, int]:
    """Names of workflows that this process does not know, with their number of runs: their logs were not replayed."""
    runs = Run.objects.exclude(workflow__in=workflow_names())
    if run_ids is not None:
        runs = runs.filter(pk__in=list(run_ids))
    elif since is not None:
        runs = runs.filter(created_at__gte=database.now() - since)
    return dict(runs.order_by("workflow").values_list("workflow").annotate(number=Count("pk")))


def blocked_runs(run_ids: Iterable[str] | None = None) -> list[Run]:
    """Runs that are parked because the code does not fit them, oldest first."""
    runs = Run.objects.blocked()
    if run_ids is not None:
        runs = runs.filter(pk__in=list(run_ids))
    return list(runs.order_by("created_at"))
