"""System checks."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register

from . import conf


@register("django_workflows")
def check_settings(**_: Any) -> list[CheckMessage]:
    """E001: an unknown key or a wrong type in ``DJANGO_WORKFLOWS``."""
    hint = "Known settings: " + ", ".join(sorted(conf.SETTINGS)) + "."
    return [Error(sentence, hint=hint, id="django_workflows.E001") for _, sentence in conf.problems()]
