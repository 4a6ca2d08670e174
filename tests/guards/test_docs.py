"""The reference pages name everything that there is, and nothing that there is not; no link leads nowhere."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

import django_workflows
from django_workflows import api, conf
from django_workflows.authoring.runtime import StartOptions
from django_workflows.exceptions import all_codes
from django_workflows.management.subcommands import SUBCOMMANDS
from django_workflows.rest.errors import STATUSES

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
PACKAGE = ROOT / "django_workflows"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"])


def page(name: str) -> str:
    return (DOCS / name).read_text()


def rows(text: str) -> dict[str, list[str]]:
    """The rows of all tables of a page whose first cell is `code`, by that."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if match := re.fullmatch(r"\|?\s*`([^`]+)`", cells[0]):
            found[match[1]] = [cell.strip("| ") for cell in cells[1:]]
    return found


def source_of(*parts: str) -> str:
    return "\n".join(path.read_text() for part in parts for path in sorted(PACKAGE.glob(part)))


class TestSettings:
    def test_are_all_documented_with_their_defaults(self) -> None:
        documented = {name: cells[0].strip("`") for name, cells in rows(page("reference/settings.md")).items()}
        quoted = {name: repr(setting.default).replace("'", '"') for name, setting in conf.SETTINGS.items()}
        assert documented == quoted


class TestChecks:
    def test_ids_are_all_documented(self) -> None:
        ids = set(re.findall(r'"([EW]\d{3})"', source_of("deploys/*.py")))
        documented = {name.rpartition(".")[2] for name in rows(page("reference/checks.md"))}
        assert documented == ids


class TestErrors:
    def test_are_all_documented_with_code_and_status(self) -> None:
        documented = {
            name: (cells[0].strip("`"), int(cells[1])) for name, cells in rows(page("reference/errors.md")).items()
        }
        classes = {cls.__name__: (code, STATUSES[code]) for code, cls in all_codes().items()}
        assert documented == {**documented, **classes}
        assert dict(documented.values()) == STATUSES


class TestPython:
    def test_public_names_are_all_documented(self) -> None:
        text = page("reference/python.md") + page("reference/errors.md")
        assert [name for name in django_workflows.__all__ if not re.search(rf"\b{name}\b", text)] == []

    def test_verbs_of_the_api_are_all_documented(self) -> None:
        own = [name for name in vars(api) if name.startswith("a") and name[1:] in vars(api)]  # those that have a twin
        text = page("reference/python.md")
        assert [name[1:] for name in own if not re.search(rf"\b{name[1:]}\b", text)] == []

    def test_options_are_all_documented(self) -> None:
        text = page("reference/python.md")
        options = [field.name for field in dataclasses.fields(StartOptions)]
        for decorator in (django_workflows.workflow, django_workflows.step):
            options += [name for name in inspect.signature(decorator).parameters if name != "fn"]
        assert [name for name in options if f"`{name}`" not in text] == []


class TestCommandLine:
    def test_subcommands_are_all_documented(self) -> None:
        usages = re.findall(r"manage\.py workflows (\w+)", page("reference/cli.md"))
        assert {subcommand.name for subcommand in SUBCOMMANDS} <= set(usages)

    def test_options_are_all_documented(self) -> None:
        import argparse

        text = page("reference/cli.md")
        missing = []
        for subcommand in SUBCOMMANDS:
            parser = argparse.ArgumentParser(add_help=False)
            subcommand.add_arguments(parser)
            options = [option for action in parser._actions for option in action.option_strings if option[:2] == "--"]
            missing += [f"{subcommand.name} {option}" for option in options if option not in text]
        assert missing == []

    def test_findings_of_the_doctor_are_all_documented(self) -> None:
        codes = set(
            re.findall(r'(?:Finding\(|^)\s*"([a-z]+_[a-z_]+)",', source_of("inspection/health.py"), re.MULTILINE)
        )
        documented = rows(page("reference/cli.md").partition("## `doctor`")[2])
        assert set(documented) == codes


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text())
    missing = [
        t for t in targets if not t.startswith(("http://", "https://", "mailto:")) and not (path.parent / t).exists()
    ]
    assert missing == []


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "index.md").read_text()
    linked = {(DOCS / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)", index) if "://" not in target}
    missing = [str(path.relative_to(DOCS)) for path in sorted(DOCS.rglob("*.md")) if path.resolve() not in linked]
    assert missing in ([], ["index.md"])
