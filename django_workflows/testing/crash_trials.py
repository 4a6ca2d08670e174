"""Does a workflow come to the same end wherever its worker dies?

The run is started once. Then, from the same rows each time: twice undisturbed, once with its body forgotten after every
turn, and once for every place where a worker can die. Each trial is rolled back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any
from unittest import mock

from django.apps import apps
from django.db import connections, router, transaction

from .. import verify
from ..authoring.handles import RunHandle
from ..authoring.steps import Step
from ..authoring.workflows import BoundWorkflow, Workflow
from ..models import Event, Run
from ..store import database
from ..values import clock, ids
from ..verify import loading
from ..verify.replay import check_replay
from .driver import Driver
from .session import Workflows

Script = Callable[[Workflows, RunHandle[Any]], Any]
_SHOWN = 5
#: without replaying each log from every cut, which is done once: after a crash a worker has just replayed it
_RULES = [rule for rule in verify.RULES if rule is not check_replay]


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """A place where a worker died: ``number`` counts from 1, ``place`` is in words."""

    number: int
    place: str

    def __str__(self) -> str:
        return f"crash {self.number}, {self.place}"


@dataclass(slots=True)
class _Ending:
    """What has to be the same after every crash. Times, ids and the order of parallel branches may differ."""

    run: dict[str, Any]
    decisions: Counter[str]
    runs: Counter[str]
    state: Any
    ran: Counter[str] = field(default_factory=Counter)
    repeated: Counter[str] = field(default_factory=Counter)


def survives_crash_everywhere(
    workflow: Workflow[..., Any] | BoundWorkflow[..., Any],
    *args: Any,
    script: Script | None = None,
    state: Callable[[], Any] | None = None,
    repeat_steps: bool = True,
    **kwargs: Any,
) -> list[CrashPoint]:
    """Run the workflow again and again, kill its worker in another place each time, and compare how it ends.

    Workers die after every commit, and after every step's work before it is recorded; the step then runs again,
    which shows whether it may: compared are the run's status, value, error and attributes, what the body decided, and
    ``state()``. By default that is the number of rows in every table of the project, so that a step that inserts twice
    is found. What differs between two undisturbed runs, a random number of a step, is not compared.
    ``repeat_steps=False`` leaves these crashes out. ``script(workflows, run)`` resumes hooks and lets time
    pass; afterwards the run is driven to its end. ``args`` and ``kwargs`` are the workflow's.

    Everything is rolled back. What steps do elsewhere is really done, many times: mock those steps.

    Returns:
        the places in which the worker was killed.

    Raises:
        AssertionError: some crash changed something; the message says which and what.
    """
    trials = _Trials(script or (lambda workflows, run: None), state or _row_counts, repeat_steps)
    offset = clock.offset()
    with _rolled_back():
        run = workflow.start(*args, **kwargs)
        expected, places = trials.undisturbed(run, offset)
        again, _ = trials.undisturbed(run, offset)
        expected.run, expected.state = _common(expected.run, again.run), _common(expected.state, again.state)
        problems = trials.compare("always replayed", expected, lambda: trials.forgetful(run, offset))
        points = [CrashPoint(number, place) for number, place in enumerate(places, 1)]
        for point in points:
            problems += trials.compare(str(point), expected, lambda point=point: trials.crash(run, offset, point))  # type: ignore[misc]
    if problems:
        more = f"\n… and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        name = getattr(workflow, "name", None) or workflow.workflow.name  # type: ignore[union-attr]
        raise AssertionError(f"{name} does not survive every crash:\n" + "\n".join(problems[:_SHOWN]) + more)
    return points


class _Trials:
    def __init__(self, script: Script, state: Callable[[], Any], repeat_steps: bool) -> None:
        self.script, self.state, self.repeat_steps = script, state, repeat_steps

    def undisturbed(self, run: RunHandle[Any], offset: Any) -> tuple[_Ending, list[str]]:
        """How it ends when nothing happens, and the places where something could."""
        places: list[str] = []

        def note(place: str, step: Step[..., object] | None) -> bool:
            if self._applies(step):
                places.append(place)
            return False

        return self._trial(run, offset, Driver(note)), places

    def forgetful(self, run: RunHandle[Any], offset: Any) -> _Ending:
        driver = Driver()
        driver.forgetful = True
        return self._trial(run, offset, driver)

    def crash(self, run: RunHandle[Any], offset: Any, point: CrashPoint) -> _Ending:
        passed = count(1)

        def dies(place: str, step: Step[..., object] | None) -> bool:
            return self._applies(step) and next(passed) == point.number

        return self._trial(run, offset, Driver(dies))

    def _applies(self, step: Step[..., object] | None) -> bool:
        return step is None or self.repeat_steps

    def _trial(self, run: RunHandle[Any], offset: Any, driver: Driver) -> _Ending:
        with _rolled_back(), _same_names(run.id):
            try:
                with Workflows(driver) as workflows:
                    self.script(workflows, run)
                    workflows.drive(run)
                    _verify(_RULES if driver.disturbed else verify.RULES)
                    ending = _Ending(_summary(run.id), _decisions(run.id), _runs(), self.state())
            finally:
                clock.advance(offset - clock.offset())
            ending.ran, ending.repeated = driver.ran, driver.repeated
            return ending

    def compare(self, place: str, expected: _Ending, trial: Callable[[], _Ending]) -> list[str]:
        """What a trial did otherwise, in words."""
        try:
            found = trial()
        except Exception as error:  # noqa: BLE001 - whatever the script asserts, too
            return [f"- {place}: {type(error).__name__}: {error}"]
        differences = [
            _difference("the run", expected.run, found.run),
            _difference("the body's decisions", expected.decisions, found.decisions),
            _difference("the runs", expected.runs, found.runs),
            _difference("the state", expected.state, found.state, self._advice(found)),
        ]
        differences += [
            f"{name} ran {found.ran[name]} times, {expected.ran[name]} times without the crash"
            for name in found.ran - found.repeated - expected.ran
        ]
        return [f"- {place}: {difference}" for difference in differences if difference]

    @staticmethod
    def _advice(found: _Ending) -> str:
        steps = " and ".join(sorted(found.repeated))
        advice = "make it atomic=True, or have it look for what it did before (get_step_metadata().step_id)"
        return f". {steps} ran twice: {advice}" if steps else ""


def _difference(what: str, expected: Any, found: Any, advice: str = "") -> str:
    if expected == found:
        return ""
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = [key for key in {**expected, **found} if expected.get(key) != found.get(key)]
        said = ", ".join(f"{key} {expected.get(key)!r} became {found.get(key)!r}" for key in keys)
        return f"{what}: {said}{advice}"
    return f"{what}: {expected!r} became {found!r}{advice}"


def _verify(rules: Iterable[verify.Rule]) -> None:
    """Hold every run to the rules of logs."""
    for subject in loading.load(loading.newest_first(None, None)):
        violations = list(verify.verify_subject(subject, rules))
        assert not violations, "; ".join(map(str, violations))


# --- what is compared ------------------------------------------------------------------------------------------------


class _Anything:
    """Stands where two undisturbed runs differ."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "…"


def _common(one: Any, other: Any) -> Any:
    """What two values have in common."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return {key: _common(one[key], other[key]) for key in one}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [_common(*pair) for pair in zip(one, other, strict=True)]
    return one if one == other else _Anything()


def _summary(run_id: str) -> dict[str, Any]:
    run = Run.objects.get(pk=run_id)
    error = run.error and (run.error["type"], run.error["message"])
    return {"status": run.status, "output": _timeless(run.output), "error": error, "attributes": run.attributes}


def _timeless(value: Any) -> Any:
    """The value without its points in time, which are later in every trial."""
    if isinstance(value, datetime):
        return "a time"
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_timeless(item) for item in value]
    return value


def _decisions(run_id: str) -> Counter[str]:
    rows = Event.objects.filter(run_id=run_id)
    records = [row.record for row in rows]
    return Counter(f"{r.type} {r.correlation_id.rpartition(':')[0]}".strip() for r in records if r.is_decision)


def _runs() -> Counter[str]:
    rows = Run.objects.values_list("workflow", "status")
    return Counter(f"{workflow} {status}" for workflow, status in rows)


def _row_counts() -> dict[str, int]:
    """The number of rows in each table of the project."""
    models = [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.app_label != "django_workflows" and model._meta.managed and not model._meta.proxy
    ]
    databases = _databases()
    counts = {}
    for model in models:
        alias = router.db_for_read(model)
        if alias in databases:
            counts[model._meta.label] = model._base_manager.count()
    return counts


# --- the same start for every trial ----------------------------------------------------------------------------------


def _databases() -> set[str]:
    """The databases in use: a ``TestCase`` allows no others."""
    used = {connection.alias for connection in connections.all(initialized_only=True) if connection.connection}
    return used | {database.alias()}


@contextmanager
def _rolled_back() -> Iterator[None]:
    """What is written in the block is gone after it."""
    with ExitStack() as stack:
        aliases = _databases()
        for alias in aliases:
            block: Any = transaction.atomic(using=alias)
            block._from_testcase = True  # a step's own durable=True is none of our business
            stack.enter_context(block)
        try:
            yield
        finally:
            for alias in aliases:
                transaction.set_rollback(True, using=alias)


@contextmanager
def _same_names(run_id: str) -> Iterator[None]:
    """Children's ids and generated tokens are the same in every trial, so that values which contain them are, too."""
    children, tokens = count(1), count(1)

    def child_id() -> str:
        return f"{run_id[:-6]}{next(children):06d}"

    def token() -> str:
        return f"token-{next(tokens):026d}"

    with mock.patch.object(ids, "run_id", child_id), mock.patch.object(ids, "new_token", token):
        yield
