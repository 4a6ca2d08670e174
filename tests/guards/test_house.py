"""The house stays readable: essays name every module of their package, files and functions stay short."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "django_workflows"
MAX_FILE, MAX_FUNCTION = 400, 50

PACKAGES = sorted(
    path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE and path.parent.name != "migrations"
)
#: one table each, and written by Django
UNBOUNDED = {"models", "migrations"}


def missing_from_essay(package: Path) -> list[str]:
    """Modules and packages of ``package`` that its docstring does not name."""
    essay = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    return sorted(name for name in modules | rooms if not re.search(rf"\b{name}\b", essay))


def bounded_files() -> Iterator[Path]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if not UNBOUNDED & set(path.relative_to(PACKAGE).parts):
            yield path


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and length in lines of each function, decorators left out."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield f"{path.relative_to(PACKAGE)}:{node.name}", node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_essay_of_a_package_names_every_module(package: Path) -> None:
    assert not missing_from_essay(package)


def test_files_have_at_most_400_lines() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in bounded_files()}
    assert not {str(path): length for path, length in lengths.items() if length > MAX_FILE}


def test_functions_have_at_most_50_lines() -> None:
    assert not {name: length for path in bounded_files() for name, length in functions(path) if length > MAX_FUNCTION}


def test_a_module_that_the_essay_leaves_out_is_seen(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text('"""Rooms: kitchen, bath."""')
    (tmp_path / "attic").mkdir()
    for name in ("kitchen.py", "bathroom.py", "attic/__init__.py"):
        (tmp_path / name).touch()
    assert missing_from_essay(tmp_path) == ["attic", "bathroom"]
