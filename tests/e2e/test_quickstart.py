"""The quick start of the README, pasted into a new Django project, does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.eventually import eventually

ROOT = Path(__file__).resolve().parent.parent.parent


class Project:
    """A new project on SQLite, as ``startproject`` and ``startapp`` make it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {
            **{
                key: value for key, value in os.environ.items() if key not in ("DJANGO_SETTINGS_MODULE", "DATABASE_URL")
            },
            "PYTHONPATH": str(ROOT),
        }
        self.run("-m", "django", "startproject", "site_", ".")
        self.run("manage.py", "startapp", "myapp")
        self.append("site_/settings.py", 'INSTALLED_APPS += ["myapp"]')

    def append(self, name: str, text: str) -> None:
        with (self.path / name).open("a") as file:
            file.write(f"\n{text}\n")

    def run(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def workflows(self, *arguments: str, code: int = 0) -> str:
        return self.run("manage.py", "workflows", "--skip-checks", *arguments, code=code)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def code_of(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def test_the_readmes_quick_start_works_as_it_stands(project: Project) -> None:
    settings, workflows, *_ = code_of(ROOT / "README.md", "python")
    project.append("site_/settings.py", settings)
    (project.path / "myapp" / "workflows.py").write_text(workflows)
    project.run("manage.py", "migrate", "--verbosity", "0")
    run_id = project.workflows("start", "myapp.workflows.welcome", '["ada@example.com"]').strip()
    project.workflows("worker", "--burst")
    assert "received it" in project.workflows("resume", "confirm:ada@example.com", '{"ok": true}')

    def shipped() -> bool:
        project.workflows("worker", "--burst")
        return "completed" in project.workflows("list", "--status", "completed")

    eventually(shipped, "the run has slept and completed")
    assert "welcomed" in project.workflows("show", run_id)
    assert "every rule holds" in project.workflows("verify", "--replay")


@pytest.mark.slow
def test_the_quick_start_of_the_documentation_works_as_it_stands(project: Project) -> None:
    page = ROOT / "docs" / "quickstart.md"
    settings, options, workflows, *_ = code_of(page, "python")
    project.append("site_/settings.py", settings)
    project.append("site_/settings.py", options)
    (project.path / "myapp" / "workflows.py").write_text(workflows)
    project.run("manage.py", "migrate", "--verbosity", "0")
    assert "no issues" in project.run("manage.py", "check")
    run_id = project.workflows("start", "myapp.workflows.publish", "[1]").strip()

    def waits() -> bool:
        project.workflows("worker", "--burst")
        return "hook approve:1" in project.workflows("show", run_id)

    eventually(waits, "the run waits for an answer")
    project.workflows("resume", "approve:1", '{"approved": true}')
    project.workflows("worker", "--burst")
    assert "'sent': [8, 8]" in project.workflows("show", run_id)
    assert "every rule holds" in project.workflows("verify", "--replay")
