"""The lock file: what the deployed code defines, kept beside it, so that a change that hurts live runs is seen before.

::

    workflows makelock     writes workflows.lock: names, signatures and steps of all workflows
    workflows check        compares the code with it, and looks which runs under way a difference concerns
    manage.py check        says the same as django_workflows.W030 and W031
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, register
from django.core.checks import Warning as CheckWarning
from django.db import DatabaseError

from ..models import Run
from ..store import database
from .lock_changes import LockDrift, compare, patch_states
from .surface import FORMAT, describe

NAME = "workflows.lock"

__all__ = ["NAME", "LockDrift", "check", "default_path", "make", "patch_states", "read"]


def default_path() -> Path:
    """``workflows.lock`` in ``BASE_DIR``, or in the working directory where the settings have none."""
    return Path(getattr(settings, "BASE_DIR", None) or Path.cwd()) / NAME


def make(path: Path | None = None) -> Path:
    """Write the lock file of this process's code. Commit it with the code."""
    path = path or default_path()
    path.write_text(json.dumps(describe(), indent=1) + "\n", encoding="utf-8")
    return path


def read(path: Path | None = None) -> dict[str, Any]:
    """The lock file's contents.

    Raises:
        FileNotFoundError: there is none. ValueError: it is no lock file, or one of another format.
    """
    path = path or default_path()
    try:
        locked = json.loads(path.read_text(encoding="utf-8"))
        written = locked["format"]
        if written == FORMAT and locked.keys() >= {"workflows", "steps"}:
            return dict(locked)
    except (ValueError, LookupError, TypeError, AttributeError):
        written = FORMAT
    if written != FORMAT:
        raise ValueError(
            f"{path} has format {written!r}, and this version reads format {FORMAT}: write it anew with "
            "`workflows makelock`, from the code that is deployed."
        )
    raise ValueError(f"{path} cannot be read as a lock file: write it anew with `workflows makelock`.")


def check(path: Path | None = None) -> list[LockDrift]:
    """What differs between the lock file and the code, where it concerns a run that is under way.

    Where nothing is concerned, but something differs, one finding says that the file is out of date. Raises as
    :func:`read` does.
    """
    locked, code = read(path), describe()
    if locked == code:
        return []
    return list(compare(locked, code)) or [
        LockDrift(
            "info",
            f"the lock file {(path or default_path()).name} is out of date, but no run under way is concerned",
            "write it anew with `workflows makelock`",
        )
    ]


@register("django_workflows")
def check_lock(**_: Any) -> list[CheckMessage]:
    """W030: the code no longer fits runs that are under way. W031: it may not, or the lock file cannot be read.

    Warnings both: errors would keep workers from starting, which the other runs need.

    Asks the database only where the code differs from the lock file. Says nothing where there is no lock file, or no
    table yet.
    """
    path = default_path()
    if not path.exists():
        return []
    try:
        locked = read(path)
        if locked == describe() or not _has_tables():
            return []
        found = check(path)
    except ValueError as error:
        return [CheckWarning(str(error), id=_id("W031"))]
    except DatabaseError:
        return []
    return [_message(drift) for drift in found if drift.severity != "info"]


def _has_tables() -> bool:
    return Run._meta.db_table in database.connection().introspection.table_names()


def _message(drift: LockDrift) -> CheckMessage:
    sentence = f"{drift.sentence[0].upper()}{drift.sentence[1:]}."
    hint = f"{drift.advice[0].upper()}{drift.advice[1:]}."
    return CheckWarning(sentence, hint=hint, id=_id("W030") if drift.severity == "error" else _id("W031"))


def _id(name: str) -> str:
    return f"django_workflows.{name}"
