"""An event is declared once: what follows from its traits follows for all of them, and nothing repeats its name."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_workflows.engine import execution, matching
from django_workflows.engine.arrivals import SETTLE
from django_workflows.eventlog import events
from django_workflows.eventlog.events import TYPES, Kind, Shape
from django_workflows.eventlog.traits import Entity, event
from tests.guards import event_reference

PACKAGE = Path(__file__).resolve().parent.parent.parent / "django_workflows"
SOURCES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.relative_to(PACKAGE).parts[0] not in ("eventlog", "migrations")
]
#: text that is an event's type by chance: (module, text) and what it is
NO_EVENT = {
    ("rest/errors.py", "hook_conflict"): "an error's code",
    ("rest/errors.py", "run_cancelled"): "an error's code",
    ("rest/errors.py", "run_failed"): "an error's code",
    ("rest/errors.py", "step_failed"): "an error's code",
}


def texts(source: Path) -> Iterator[str]:
    """The constants of a module, documentation excepted."""
    tree = ast.parse(source.read_text())
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


def calls(source: Path) -> Iterator[str]:
    """The names of what a module calls."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr


class TestDeclarations:
    @pytest.mark.parametrize("type", TYPES)
    def test_an_event_says_what_happened_and_who_writes_it(self, type: str) -> None:
        text = TYPES[type].__doc__ or ""
        assert re.match(r"[A-Z].+\. Written by .*``\w+\.?\w*", " ".join(text.split())), text

    @pytest.mark.parametrize("type", TYPES)
    def test_every_field_says_what_it_holds(self, type: str) -> None:
        assert all(field.doc for field in TYPES[type].fields.values())

    def test_a_field_that_is_neither_personal_nor_kept_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"Careless\.name is neither personal\(\) nor kept\(\)"):

            @event(Kind.ARRIVAL, Entity.STEP)
            class Careless(events.Event):
                name: str

        assert "careless" not in TYPES

    @pytest.mark.parametrize("type", TYPES)
    def test_an_error_value_or_argument_is_personal(self, type: str) -> None:
        names = {"error", "output", "args", "kwargs", "attributes", "payload", "metadata", "token", "reason"}
        for name, field in TYPES[type].fields.items():
            assert (field.personal is not None) or name not in names

    @pytest.mark.parametrize("type", TYPES)
    def test_a_sentence_names_fields_and_no_secret(self, type: str) -> None:
        cls, shown = TYPES[type], set[str]()

        def show(name: str, value: Any) -> str:
            shown.add(name)
            return name

        for payload in ({}, dict.fromkeys(cls.fields, True)):
            cls.traits.sentence(payload, show)
        open_fields = {
            name for name, field in cls.fields.items() if not field.secret and field.personal is not Shape.TOKEN
        }
        assert shown - {"call"} <= open_fields
        assert "call" not in shown or {"args", "kwargs"} <= open_fields

    @pytest.mark.parametrize("type", TYPES)
    def test_conditions_name_fields(self, type: str) -> None:
        traits = TYPES[type].traits
        conditions = [pair[0] for pair in (traits.says_if, traits.status_if) if pair is not None]
        conditions += [traits.mark.only_if] if traits.mark and traits.mark.only_if else []
        assert set(conditions) <= TYPES[type].fields.keys()


class TestWriters:
    def test_each_event_is_made_in_one_place(self) -> None:
        made = Counter(name for source in SOURCES for name in calls(source))
        assert {cls.__name__: made[cls.__name__] for cls in TYPES.values()} == {
            cls.__name__: 1 for cls in TYPES.values()
        }

    def test_no_text_repeats_the_type_of_an_event(self) -> None:
        quoted = re.compile(rf"'({'|'.join(TYPES)})'")
        found = set()
        for source in SOURCES:
            name = source.relative_to(PACKAGE).as_posix()
            for text in texts(source):
                found |= {(name, type) for type in ([text] if text in TYPES else quoted.findall(text))}
        assert found - NO_EVENT.keys() == set(), "name the class: events.StepCompleted.type"
        assert NO_EVENT.keys() - found == set()


class TestEngine:
    def test_every_event_is_delivered_in_one_way(self) -> None:
        begins, reopens = events.RunStarted.type, events.RunRetried.type
        only_matched = {
            type
            for type, cls in TYPES.items()
            if cls.traits.kind is Kind.DECISION and not cls.traits.resolves and cls.traits.arrives is None
        }
        groups = [execution._QUIET, SETTLE.keys(), only_matched, {begins, reopens}]
        assert Counter(type for group in groups for type in group) == dict.fromkeys(TYPES, 1)

    def test_every_decision_can_be_matched_and_described(self) -> None:
        decisions = {type for type, cls in TYPES.items() if cls.traits.kind is Kind.DECISION}
        assert matching._RULES.keys() == matching._DESCRIBE_RECORD.keys() == decisions


def test_the_reference_page_says_what_the_classes_say() -> None:
    page = event_reference.PAGE
    assert page.read_text() == event_reference.render(), "run: python -m tests.guards.event_reference"
