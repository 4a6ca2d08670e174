"""Who did what, and why: one ``LogEntry`` for each action, shown under a run's "History"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.http import HttpRequest

from ..models import Run


def record(request: HttpRequest, runs: Sequence[Run], what: str, why: str = "") -> None:
    """Note that this user did ``what`` to these runs. The action itself has been committed before."""
    user: Any = request.user
    message = f"{what}: {why}" if why else f"{what}."
    # not a list of objects: a message that begins with "[" would be read as JSON
    for run in runs:
        LogEntry.objects.log_actions(user.pk, [run], CHANGE, message.lstrip("["), single_object=True)
