"""Which code this process runs: a setting, or a hash of the modules that define workflows and steps."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from pathlib import Path

from .. import conf
from ..authoring import registry


def code_version() -> str:
    """At most 64 characters. Workers with the same version advance the same runs equally well."""
    given = conf.settings.CODE_VERSION
    return str(given)[:64] if given else _hash()


@cache
def _hash() -> str:
    modules = set()
    for name in registry.workflow_names():
        if (workflow := registry.find_workflow(name)) is not None:
            modules.add(workflow.fn.__module__)
    for name in registry.step_names():
        if (step := registry.find_step(name)) is not None:
            modules.add(step.fn.__module__)
    digest = hashlib.sha256()
    for module in sorted(modules):
        path = getattr(sys.modules.get(module), "__file__", None)
        digest.update(module.encode())
        if path and Path(path).exists():
            digest.update(Path(path).read_bytes())
    return digest.hexdigest()[:16]
