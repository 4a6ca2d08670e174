"""One code, one lock file: its contents do not depend on the version of Python that reads the code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import django
import pytest

from django_workflows.deploys.references import references
from tests.deploys import locked_bodies

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = textwrap.dedent("""
    import json
    from django.conf import settings
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["django.contrib.contenttypes", "django_workflows"],
    )
    import django
    django.setup()
    from django_workflows.deploys.surface import describe
    import tests.deploys.locked_bodies
    print(json.dumps(describe()))
""")


def described_by(version: str) -> dict[str, Any]:
    """What this version of Python says of the bodies; skips where it, or Django for it, is not installed."""
    command = sys.executable if version == "{}.{}".format(*sys.version_info) else shutil.which(f"python{version}")
    if command is None:
        pytest.skip(f"no Python {version} here")
    path = os.pathsep.join([str(ROOT), str(Path(django.__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": path, "PYENV_VERSION": version, "DJANGO_SETTINGS_MODULE": ""}
    command_line = [command, "-W", "ignore", "-c", PROGRAM]
    result = subprocess.run(command_line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if result.returncode and ("ModuleNotFoundError" in result.stderr or "command not found" in result.stderr):
        pytest.skip(f"Python {version} cannot run this project: {result.stderr.splitlines()[-1]}")
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


EXPECTED = {
    "locked.attributes": ({"locked.check", "locked.stamp", "locked.pack"}, {"locked.child"}, set()),
    "locked.child": (set(), set(), set()),
    "locked.collections": ({"locked.pack", "locked.weigh"}, set(), set()),
    "locked.comprehensions": ({"locked.pack", "locked.weigh"}, set(), set()),
    "locked.inline": ({"locked.stamp"}, set(), set()),
    "locked.nested": ({"locked.stamp", "locked.weigh"}, set(), {"stamps"}),
}


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_python_writes_the_same_lock_file(version: str) -> None:
    found = described_by(version)
    said = {
        name: (set(each["steps"]), set(each["children"]), set(each["patches"]))
        for name, each in found["workflows"].items()
    }
    assert said == EXPECTED
    assert found["workflows"]["locked.collections"]["arguments"] == "(name, *, late=…)"


def test_a_body_without_source_says_nothing_instead_of_something_wrong() -> None:
    scope: dict[str, Any] = {"pack": locked_bodies.pack}
    exec("async def body():\n    return await pack()\n", scope)  # as typed into a shell
    assert references(scope["body"]) is None
