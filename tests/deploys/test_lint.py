"""Each rule finds what it is about, on its line; what is fine is left alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.utils.functional import SimpleLazyObject

from django_workflows import workflow
from django_workflows.authoring import registry
from django_workflows.deploys.lint import lint_workflow
from django_workflows.deploys.rules import RULES

from . import lint_bodies

PATH = Path(lint_bodies.__file__)
NAMES = sorted(name for name in registry.workflow_names() if name.startswith("lint."))


def expected(name: str) -> set[tuple[str, int]]:
    """The marks in the body's own lines; of the helpers' for the one that calls them."""
    lines = PATH.read_text().splitlines()
    first = next(n for n, line in enumerate(lines, 1) if f'name="{name}"' in line)
    end = next((n for n in range(first + 2, len(lines)) if lines[n - 1][:1] in ("@", "d")), len(lines) + 1)
    numbers = range(lines.index("def deeper() -> float:") + 1, first) if name == "lint.helped" else range(first, end)
    return {(code, n) for n in numbers for code in re.findall(r"# (W\d{3})(?= |$)", lines[n - 1])}


@pytest.mark.parametrize("name", NAMES)
def test_a_body_gets_the_warnings_it_is_marked_with(name: str) -> None:
    found = registry.find_workflow(name)
    assert found is not None
    assert {(finding.code, finding.line) for finding in lint_workflow(found)} == expected(name)


def test_every_rule_is_tried() -> None:
    marks = set(re.findall(r"# (W\d{3})(?= |$)", PATH.read_text(), re.MULTILINE))
    assert marks == set(RULES)


def test_a_finding_says_where_what_and_what_to_do() -> None:
    found = next(finding for finding in lint_workflow(lint_bodies.clocks) if "timezone" in finding.message)
    assert found.path == str(PATH)
    assert found.message == (
        "The body of lint.clocks reads the wall clock, which says something else on every replay: timezone.now()."
    )
    assert found.fix == "Use django_workflows.now(), the run's own clock."


def test_a_function_that_the_body_calls_is_named() -> None:
    (found,) = lint_workflow(lint_bodies.helped)
    assert found.message.startswith("The body of lint.helped, in deeper(), reads the wall clock")


def test_findings_are_system_checks() -> None:
    messages = [m for m in run_checks(tags=["django_workflows"]) if m.id == "django_workflows.W021"]
    assert messages
    assert str(messages[0].obj).startswith(f"{PATH}:")
    assert "ignore[W021]" in (messages[0].hint or "")


def lazy() -> object:
    raise AssertionError("a lazy object was woken up")


LAZY = SimpleLazyObject(lazy)


def test_lazy_objects_are_left_asleep() -> None:
    with registry.isolated():

        @workflow(name="lint.lazy")
        async def lazily() -> object:
            return LAZY.attribute(), LAZY()

        assert lint_workflow(lazily) == []


def test_a_body_without_source_is_passed_over() -> None:
    namespace: dict[str, object] = {"workflow": workflow, "__name__": "shell"}
    with registry.isolated():
        exec("@workflow(name='lint.shell')\nasync def f():\n    return 1", namespace)
        found = registry.find_workflow("lint.shell")
        assert found is not None
        assert lint_workflow(found) == []
