"""The actions: ask for confirmation, call ``api`` once per run, tell what happened, leave a ``LogEntry``."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .. import api
from ..exceptions import HookPayloadError, WorkflowError
from ..inspection.actions import dry_run, sleeping_runs, why_not
from ..inspection.text import mask_token, short_name
from ..models import Hook, Run
from .audit import record
from .changelist import MOST_AT_ONCE
from .forms import ReasonForm, hook_form
from .rendering import run_url
from .verbs import VERBS, Verb, may_dispose, may_resume

CONFIRM = "admin/django_workflows/confirm.html"


def get_run(run_id: str) -> Run:
    """The run without its payloads. Raises ``Http404``."""
    rows = Run.objects.defer("input", "output", "error")
    run = rows.filter(pk=run_id.replace("\x00", "")).first()
    if run is None:
        raise Http404(f"There is no run {run_id!r}.")
    return run


# --- one run ---------------------------------------------------------------------------------------------------------


def act(site_context: dict[str, Any], request: HttpRequest, run_id: str, name: str) -> HttpResponse:
    """Confirm (GET) and do (POST) one verb to one run."""
    verb = VERBS.get(name)
    if verb is None:
        raise Http404(name)
    if not verb.allowed(request):
        raise PermissionDenied
    run = get_run(run_id)
    target = request.GET.get("wait")
    form = ReasonForm(request.POST if request.method == "POST" else None, required=verb.needs_reason)
    if request.method == "POST" and form.is_valid():
        _act_once(request, verb, run, form.cleaned_data["reason"], target)
        return HttpResponseRedirect(run_url(run.pk))
    context = {
        **_asking(site_context, run, verb.question, verb.explanation, verb.label),
        "form": form,
        "grave": verb.is_grave,
        "refused": why_not(run, name, sleeping=bool(sleeping_runs([run]))),
    }
    return TemplateResponse(request, CONFIRM, context)


def _asking(site_context: dict[str, Any], run: Run, question: Any, explanation: Any, label: Any) -> dict[str, Any]:
    return {
        **site_context,
        "title": question,
        "opts": Run._meta,
        "run": run,
        "workflow": short_name(run.workflow),
        "back": run_url(run.pk),
        "explanation": explanation,
        "label": label,
    }


def _act_once(request: HttpRequest, verb: Verb, run: Run, why: str, target: str | None) -> None:
    try:
        done = verb.act(run.pk, why, target)
    except WorkflowError as error:
        messages.error(request, f"{error} ({error.code})")
        return
    record(request, [run], done, why)
    messages.success(request, f"{done}: {short_name(run.workflow)} {run.pk}")


# --- hooks -----------------------------------------------------------------------------------------------------------


def _get_hook(run: Run, hook_id: str) -> Hook:
    hook = Hook.objects.defer("metadata").filter(pk=hook_id, run_id=run.pk).first()
    if hook is None:
        raise Http404(f"Run {run.pk} has no hook {hook_id!r}.")
    return hook


def resume(site_context: dict[str, Any], request: HttpRequest, run_id: str, hook_id: str) -> HttpResponse:
    """A form for the payload (GET), and its delivery (POST)."""
    if not may_resume(request):
        raise PermissionDenied
    run = get_run(run_id)
    hook = _get_hook(run, hook_id)
    form_class, options = hook_form(hook)
    form: Any = form_class(request.POST if request.method == "POST" else None, required=False, **options)
    if request.method == "POST" and form.is_valid() and _deliver(request, run, hook, form):
        return HttpResponseRedirect(run_url(run.pk))
    what = _("webhook") if hook.is_webhook else _("hook")
    context = {
        **_asking(
            site_context,
            run,
            _("Resume %(what)s %(token)s") % {"what": what, "token": mask_token(hook.token, hook.is_webhook)},
            _("The payload goes into the run's log, and its code receives it as if it had come from outside."),
            _("Resume"),
        ),
        "form": form,
        "refused": None if hook.disposed_at is None else _("has disposed this hook"),
    }
    return TemplateResponse(request, CONFIRM, context)


def _deliver(request: HttpRequest, run: Run, hook: Hook, form: Any) -> bool:
    """False: the hook's serializer refused the payload, and the form says why."""
    token = mask_token(hook.token, hook.is_webhook)
    try:
        event = api.resume_hook(hook.token, form.delivery())
    except HookPayloadError as error:
        form.refuse(error.errors)
        return False
    except WorkflowError as error:
        messages.error(request, f"{error} ({error.code})")
        return True
    record(request, [run], f"Resumed hook {token} (event {event.sequence})", form.cleaned_data["reason"])
    messages.success(request, _("Delivered as event %(n)d.") % {"n": event.sequence})
    return True


def dispose(site_context: dict[str, Any], request: HttpRequest, run_id: str, hook_id: str) -> HttpResponse:
    """Confirm (GET) and do (POST): free a hook's token."""
    if not may_dispose(request):
        raise PermissionDenied
    run = get_run(run_id)
    hook = _get_hook(run, hook_id)
    token = mask_token(hook.token, hook.is_webhook)
    form = ReasonForm(request.POST if request.method == "POST" else None, required=True)
    if request.method == "POST" and form.is_valid():
        try:
            api.dispose_hook(hook.token)
        except WorkflowError as error:
            messages.error(request, f"{error} ({error.code})")
        else:
            record(request, [run], f"Disposed hook {token}", form.cleaned_data["reason"])
            messages.success(request, _("Hook %(token)s takes no more payloads.") % {"token": token})
        return HttpResponseRedirect(run_url(run.pk))
    explanation = _(
        "It takes no more payloads and its token is free for another run. This run may then wait indefinitely."
    )
    asking = _asking(site_context, run, _("Dispose hook %(token)s?") % {"token": token}, explanation, _("Dispose"))
    refused = None if hook.disposed_at is None else _("has disposed this hook")
    return TemplateResponse(request, CONFIRM, {**asking, "form": form, "grave": True, "refused": refused})


# --- many runs -------------------------------------------------------------------------------------------------------


def act_on_many(model_admin: Any, request: HttpRequest, queryset: QuerySet[Run], name: str) -> HttpResponse | None:
    """An action of the list: a dry run with counts first, then one call of ``api`` per run."""
    verb = VERBS[name]
    chosen = list(queryset.order_by("-created_at", "-id")[: MOST_AT_ONCE + 1])
    cut, chosen = len(chosen) > MOST_AT_ONCE, chosen[:MOST_AT_ONCE]
    trial = dry_run(chosen, name)
    confirmed = "confirmed" in request.POST
    form = ReasonForm(request.POST if confirmed else None, required=verb.needs_reason)
    if confirmed and form.is_valid():
        _act_on_each(request, verb, trial.runs, form.cleaned_data["reason"])
        return None
    context = {
        **model_admin.admin_site.each_context(request),
        "title": _("%(verb)s: are you sure?") % {"verb": verb.label},
        "opts": Run._meta,
        "form": form,
        "grave": verb.is_grave,
        "label": verb.label,
        "explanation": verb.explanation,
        "bulk": True,
        "trial": trial,
        "count": len(trial.runs),
        "chosen": len(chosen),
        "cut": MOST_AT_ONCE if cut else None,
        "shown": [(short_name(run.workflow), run.pk, run_url(run.pk)) for run in trial.runs[:20]],
        "not_shown": max(0, len(trial.runs) - 20),
        "action": request.POST.get("action"),
        "checkbox": ACTION_CHECKBOX_NAME,
    }
    return TemplateResponse(request, CONFIRM, context)


def _act_on_each(request: HttpRequest, verb: Verb, runs: list[Run], why: str) -> None:
    refused: list[str] = []
    count = 0
    for run in sorted(
        runs, key=lambda run: run.pk
    ):  # ATOMIC_REQUESTS keeps the locks: in id order, like every other locker
        try:
            done = verb.act(run.pk, why, None)
        except WorkflowError as error:  # it has moved on since the dry run
            refused.append(f"{run.pk}: {error.code}")
            continue
        record(request, [run], done, why)
        count += 1
    words = ngettext("%(n)d run %(done)s.", "%(n)d runs %(done)s.", count) % {"n": count, "done": verb.done}
    messages.success(request, words)
    if refused:
        shown = ", ".join(refused[:5]) + (" …" if len(refused) > 5 else "")
        messages.warning(request, _("%(n)d left alone: %(which)s") % {"n": len(refused), "which": shown})
