"""Imports go down only. The contracts are in pyproject.toml; here they are checked, and shown to catch violations."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = "django_workflows"


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    program = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    return subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(directory)!r}); {program}"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_go_down_only() -> None:
    result = lint(PROJECT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line", "expected"),
    [
        ("exceptions.py", "from . import events", "django_workflows.exceptions is not allowed to import"),
        ("engine/__init__.py", "import django.db", "django_workflows.engine is not allowed to import django"),
        ("__init__.py", "from . import models", "django_workflows is not allowed to import django_workflows.models"),
        (
            "authoring/runtime.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .handles import RunHandle",
            "django_workflows.authoring.runtime -> django_workflows.authoring.handles",
        ),
        ("authoring/elsewhere.py", "", "elsewhere"),
        ("rest/runs.py", "from ..services import steps", "django_workflows.rest is not allowed to import"),
        ("admin/verbs.py", "from ..store import database", "django_workflows.admin is not allowed to import"),
        (
            "management/subcommands/prune.py",
            "from django_workflows.upkeep import retention",
            "django_workflows.management is not allowed to import",
        ),
        ("elsewhere.py", "", "elsewhere"),
    ],
)
def test_a_breach_is_seen(tmp_path: Path, module: str, line: str, expected: str) -> None:
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    shutil.copytree(PROJECT / PACKAGE, tmp_path / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / PACKAGE / module).open("a") as file:
        file.write(f"\n{line}\n")
    result = lint(tmp_path)
    assert result.returncode == 1
    assert expected in result.stdout + result.stderr
