"""The linter's warnings as warnings of ``manage.py check``."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, register
from django.core.checks import Warning as CheckWarning

from ..authoring import registry
from .lint import lint_workflow


@register("django_workflows")
def check_bodies(**_: Any) -> list[CheckMessage]:
    """W010 and on: workflow bodies that use what replay cannot repeat. Bodies of installed packages are left alone."""
    messages: dict[tuple[str, int, str], CheckMessage] = {}
    for name in registry.workflow_names():
        workflow = registry.find_workflow(name)
        if workflow is None or _is_installed(workflow.fn):
            continue
        for warning in lint_workflow(workflow):
            place = f"{warning.path}:{warning.line}"
            hint = f"{warning.fix} If it is meant so, end the line with `# workflows: ignore[{warning.code}]`."
            message = CheckWarning(warning.message, hint=hint, obj=place, id=f"django_workflows.{warning.code}")
            messages.setdefault((warning.path, warning.line, warning.code), message)
    return list(messages.values())


def _is_installed(fn: Any) -> bool:
    return "-packages" in getattr(getattr(fn, "__code__", None), "co_filename", "")
