"""What a person may do to a run: the words, the permission, and the one call of ``api`` for each verb."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from .. import api


@dataclass(frozen=True, slots=True)
class Verb:
    """``act(run_id, why, target)`` raises what ``api`` raises; it returns what was done, for the history."""

    name: str
    permission: str
    label: Any
    question: Any
    #: what will happen, for a person who has never seen the code
    explanation: Any
    done: Any
    act: Callable[[str, str, str | None], str]
    needs_reason: bool = False
    is_grave: bool = False

    def allowed(self, request: HttpRequest) -> bool:
        return _may(request, self.permission)


def _may(request: HttpRequest, permission: str) -> bool:
    user: Any = request.user
    return bool(user.has_perm(f"django_workflows.{permission}"))


def may_resume(request: HttpRequest) -> bool:
    """Whether the user may resume hooks, and so may see their tokens."""
    return _may(request, "resume_hook")


def may_dispose(request: HttpRequest) -> bool:
    """Whether the user may dispose hooks."""
    return _may(request, "dispose_hook")


def _cancel(run_id: str, why: str, target: str | None) -> str:
    api.cancel_run(run_id, why)
    return "Cancelled"


def _force(run_id: str, why: str, target: str | None) -> str:
    api.cancel_run(run_id, why, force=True)
    return "Cancelled by force"


def _retry(run_id: str, why: str, target: str | None) -> str:
    api.retry_run(run_id)
    return "Retried from the step that failed"


def _wake(run_id: str, why: str, target: str | None) -> str:
    count = api.wake_run(run_id, target)
    return ngettext("Woken: %(n)d sleep ended", "Woken: %(n)d sleeps ended", count) % {"n": count}


def _unblock(run_id: str, why: str, target: str | None) -> str:
    api.unblock_run(run_id)
    return "Unblocked: to be tried again now"


VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "cancel",
            "cancel_run",
            _("Cancel"),
            _("Cancel this run?"),
            _("Its code is asked to end and may run cleanup steps first. It ends as cancelled; so do its children."),
            _("cancelled"),
            _cancel,
            needs_reason=True,
            is_grave=True,
        ),
        Verb(
            "force",
            "force_cancel_run",
            _("Cancel by force"),
            _("End this run at once?"),
            _("It ends as cancelled now, without any cleanup of its own. What it has half done stays half done."),
            _("cancelled by force"),
            _force,
            needs_reason=True,
            is_grave=True,
        ),
        Verb(
            "retry",
            "retry_run",
            _("Retry"),
            _("Retry this run from the step that failed?"),
            _("What has completed is not done again. The failed step is tried anew with all of its retries."),
            _("retried"),
            _retry,
        ),
        Verb(
            "wake",
            "wake_run",
            _("Wake now"),
            _("End the sleep now?"),
            _("The run continues as if the time had come. A timeout that it waits for counts as a sleep, too."),
            _("woken"),
            _wake,
        ),
        Verb(
            "unblock",
            "unblock_run",
            _("Try again now"),
            _("Have this blocked run tried again now?"),
            _("A worker replays it at once. If the code still does not fit, it is blocked again: nothing is lost."),
            _("to be tried again"),
            _unblock,
        ),
    )
}
