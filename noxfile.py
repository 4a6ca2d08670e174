"""The matrix: every Django with every Python it supports. An interpreter that is not there is skipped.

``nox -s "tests(python='3.12', django='6.0')" -- tests/unit`` runs one cell and part of the suite.
"""

import nox

nox.needs_version = ">=2024.4"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"

#: Django 6.0 was the first to need Python 3.12
DJANGOS = {"3.11": ["5.2"], "3.12": ["5.2", "6.0", "6.1"], "3.13": ["5.2", "6.0", "6.1"]}


@nox.session
@nox.parametrize("python,django", [(python, django) for python, djangos in DJANGOS.items() for django in djangos])
def tests(session: nox.Session, django: str) -> None:
    """The tests on a real PostgreSQL."""
    session.install("-e", ".[test]", f"django~={django}.0")
    session.run("python", "-m", "pytest", *session.posargs)
