"""The reference pages name everything that exists and nothing that does not; every link and every name resolves."""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

import django_workflows
from django_workflows import api, conf
from django_workflows.authoring.options import StartOptions
from django_workflows.exceptions import all_codes
from django_workflows.management.subcommands import SUBCOMMANDS
from django_workflows.models import Run
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
        own = [name for name in vars(api) if name.startswith("a") and name[1:] in vars(api)]  # with an async twin
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


each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them: repeated ones are numbered."""
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose, re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        numbered = (f"{slug}-{number}" if number else slug for number in range(len(found) + 1))
        found.add(next(name for name in numbered if name not in found))
    return found


class TestLinks:
    @each_page
    def test_lead_to_pages_and_headings_that_exist(self, path: Path) -> None:
        broken = []
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
            if target.startswith(("http://", "https://", "mailto:")):
                continue
            name, _, anchor = target.partition("#")
            page = (path.parent / name).resolve() if name else path
            if not page.exists() or (anchor and anchor not in anchors(page)):
                broken.append(target)
        assert broken == []


def not_modules() -> set[str]:
    """Dotted names that begin like a module and are none: loggers and permissions."""
    permissions = [name for name, _ in Run._meta.permissions] + [
        f"{verb}_run" for verb in Run._meta.default_permissions
    ]
    loggers = re.findall(r'getLogger\("(django_workflows[\w.]*)"\)', source_of("**/*.py"))
    return {*loggers, *(f"django_workflows.{name}" for name in permissions)}


def can_be_imported(name: str) -> bool:
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


class TestNames:
    @each_page
    def test_of_modules_and_their_attributes_can_be_imported(self, path: Path) -> None:
        if path.name == "CHANGELOG.md":
            return  # speaks of the past, too
        text = path.read_text()
        names = set(re.findall(r"\bdjango_workflows(?:\.[A-Za-z_]\w*)+", text))
        for module, imported in re.findall(r"^\s*from (django_workflows[\w.]*) import ([\w, ]+)", text, re.MULTILINE):
            names |= {f"{module}.{name.split(' as ')[0].strip()}" for name in imported.split(",")}
        names |= {f"django_workflows.api.{name}" for name in re.findall(r"(?<![\w./-])api\.([a-z]\w*)", text)}
        modules = {name for name in names - not_modules() if not re.search(r"\.[EW]\d{3}$", name)}
        assert sorted(name for name in modules if not can_be_imported(name)) == []

    @each_page
    def test_of_files_and_make_targets_exist(self, path: Path) -> None:
        text = path.read_text()
        files = re.findall(r"`((?:tests|trials|docs|example_project|benchmarks)/[\w./-]+)`", text)
        made = {"benchmarks/results/"}  # written by a run
        assert [name for name in files if name not in made and not (ROOT / name).exists()] == []
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        named = re.findall(r"(?:`|^\$ (?:[A-Z_]+=\S+ )*)make ([a-z-]+)", text, re.MULTILINE)
        assert [name for name in named if name not in targets] == []

    def test_of_tests_that_prove_a_guarantee_exist(self) -> None:
        tests = re.findall(
            r"def (test_\w+)", "\n".join(file.read_text() for file in sorted((ROOT / "tests").rglob("*.py")))
        )
        named = re.findall(r"`((?:test|…)_\w+…?)(?:\[\w+\])?`", page("reliability.md"))
        patterns = {name: re.compile(name.replace("…", r"\w*")) for name in named}
        assert [name for name, pattern in patterns.items() if not any(map(pattern.fullmatch, tests))] == []

    def test_of_all_packages_stand_floor_by_floor_as_the_import_contract_has_them(self) -> None:
        contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        layers = next(contract["layers"] for contract in contracts if contract["id"] == "floors")
        section = page("explanation/how-it-works.md").partition("## Where things are")[2]
        first_cells = re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE)
        assert [re.findall(r"`(\w+)`", cell) for cell in first_cells] == [re.findall(r"\w+", layer) for layer in layers]


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "index.md").read_text()
    linked = {(DOCS / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)", index) if "://" not in target}
    missing = [str(path.relative_to(DOCS)) for path in sorted(DOCS.rglob("*.md")) if path.resolve() not in linked]
    assert missing in ([], ["index.md"])
