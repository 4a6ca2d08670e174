"""Before a deploy: write the lock file, compare the code with it, and ask which ``patched()`` calls can go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..deploys import lockfile, surface
from ..deploys.lockfile import NAME, LockDrift

__all__ = ["NAME", "LockDrift", "check_lock", "describe", "patch_states", "write_lock"]


def describe() -> dict[str, Any]:
    """What the code of this process defines, as the lock file holds it: names, signatures, steps, patches."""
    return surface.describe()


def write_lock(path: Path | None = None) -> Path:
    """Write the lock file of this code, by default ``workflows.lock`` in ``BASE_DIR``. Returns where it is."""
    return lockfile.make(path)


def check_lock(path: Path | None = None) -> list[LockDrift]:
    """What differs between the lock file and the code, where it concerns a run that is under way.

    Raises:
        FileNotFoundError: there is no lock file. ValueError: it is none, or one of another version.
    """
    return lockfile.check(path)


def patch_states() -> Iterator[LockDrift]:
    """Of each ``patched()`` in the code, whether a run under way still goes the old way. Replays those runs."""
    return lockfile.patch_states(surface.describe())
