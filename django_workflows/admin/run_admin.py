"""The admin of runs: look at everything, change nothing but through ``api``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms import Script
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ..inspection.redaction import Redactor
from ..inspection.search import find_runs
from ..inspection.text import format_age, one_line, short_name
from ..models import Event, Run
from ..serialization.columns import decrypted, with_raw
from ..serialization.display import failure, pretty, read, shown
from ..values import clock
from . import actions, filters, rendering, run_page
from .changelist import RunChangeList
from .overview_page import overview_context
from .site import admin_url, on_site
from .verbs import VERBS, may_resume

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Run]
else:
    _ModelAdmin = admin.ModelAdmin

_Action = Callable[[Any, HttpRequest, QuerySet[Run]], HttpResponse | None]


def _bulk(name: str) -> _Action:
    def action(model_admin: Any, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        return actions.act_on_many(model_admin, request, queryset, name)

    action.__name__ = f"{name}_runs"
    return admin.action(permissions=[name], description=VERBS[name].label)(action)


@admin.register(Run)
class RunAdmin(_ModelAdmin):
    """Runs, newest first; the pages below them; one action and one permission for each verb."""

    list_display = ("state", "run", "what", "age", "took")
    list_display_links = None
    list_filter = (
        filters.StatusFilter,
        filters.BlockedFilter,
        filters.CreatedFilter,
        filters.AttributeFilter,
        filters.WorkflowFilter,
        filters.QueueFilter,
    )
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    search_fields = ("pk",)
    search_help_text = _(
        "Id of a run, step, hook or wait; hook token; idempotency key; attribute (value, or key=value); workflow."
    )
    actions = [_bulk(name) for name in VERBS]
    change_list_template = "admin/django_workflows/run_list.html"
    change_form_template = "admin/django_workflows/run.html"

    class Media:
        css = {"all": ("django_workflows/admin.css",)}
        js = (Script("django_workflows/admin.js", defer=True),)

    # --- permissions: looking is one, each verb is its own -----------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return VERBS["cancel"].allowed(request)

    def has_force_permission(self, request: HttpRequest) -> bool:
        return VERBS["force"].allowed(request)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return VERBS["retry"].allowed(request)

    def has_wake_permission(self, request: HttpRequest) -> bool:
        return VERBS["wake"].allowed(request)

    def has_unblock_permission(self, request: HttpRequest) -> bool:
        return VERBS["unblock"].allowed(request)

    # --- the list ----------------------------------------------------------------------------------------------------

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RunChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        rows = Run.objects.all()
        return with_raw(rows, "error").defer("input", "output", "error", "seed")

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Only the filters that are offered: a lookup into the seed or a payload would be an oracle for it."""
        return any(lookup == filter_class.parameter_name for filter_class in self.list_filter)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Run], search_term: str) -> Any:
        return (queryset.filter(find_runs(search_term)) if search_term.strip() else queryset), False

    @admin.display(description=_("Status"))
    def state(self, run: Any) -> SafeString:
        blocked = bool(run.blocked_reason) and run.completed_at is None
        return rendering.badge("blocked" if blocked else run.status)

    @admin.display(description=_("Run"))
    def run(self, run: Run) -> SafeString:
        return rendering.run_link(run)

    @admin.display(description=_("Waits for, or how it ended"))
    def what(self, run: Any) -> SafeString:
        if run.status == "failed":
            found = failure(read(run.raw_error))
            look, words = "wf-failed-words", one_line(found.sentence if found else "", 160)
        else:
            look, words = "wf-words", run.wait_words
        if not words:
            return rendering.attributes(run.attributes)
        chips = rendering.attributes(run.attributes) if run.attributes else ""
        return format_html('<span class="{}">{}</span>{}', look, words, chips)

    @admin.display(description=_("Age"))
    def age(self, run: Any) -> SafeString:
        return rendering.age(run.created_at, run.seen_at)

    @admin.display(description=_("Took"))
    def took(self, run: Any) -> str:
        if run.started_at is None:
            return "—"
        return format_age(run.started_at, run.completed_at or run.seen_at)

    # --- pages -------------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        def page(route: str, view: Any, name: str) -> URLPattern:
            found: URLPattern = path(route, self.admin_site.admin_view(view), name=f"django_workflows_{name}")
            return found

        own = [
            page("overview/", self.overview_view, "overview"),
            page("<str:run_id>/live/", self.live_view, "run_live"),
            page("<str:run_id>/events/<int:sequence>/", self.event_view, "run_event"),
            page("<str:run_id>/values/<str:name>/", self.value_view, "run_value"),
            page("<str:run_id>/act/<str:verb>/", self.act_view, "run_act"),
            page("<str:run_id>/hooks/<str:hook_id>/resume/", self.resume_view, "run_resume"),
            page("<str:run_id>/hooks/<str:hook_id>/dispose/", self.dispose_view, "run_dispose"),
        ]
        return [on_site(route, self.admin_site.name) for route in own + super().get_urls()]

    def _require_view(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        from django.contrib.admin.utils import unquote

        self._require_view(request)
        run = run_page.load(unquote(object_id))
        if run is not None and request.method != "POST":
            name = short_name(run.workflow)
            live = admin_url("run_live", run.pk)
            extra_context = {
                **(extra_context or {}),
                "title": f"{name} · {run.status}",
                "name": name,
                "subtitle": None,
                "live_url": f"{live}?{request.GET.urlencode()}",
                **run_page.live_context(request, run),
            }
        return super().change_view(request, object_id, form_url, extra_context)

    def live_view(self, request: HttpRequest, run_id: str) -> HttpResponse:
        """The middle of a run's page; 204 if it is as ``?version=`` says."""
        self._require_view(request)
        run = run_page.load(run_id)
        if run is None:
            raise Http404
        if request.GET.get("version") == run_page.version(run, clock.now()):
            return HttpResponse(status=204)
        return TemplateResponse(request, "admin/django_workflows/run_live.html", run_page.live_context(request, run))

    def event_view(self, request: HttpRequest, run_id: str, sequence: int) -> HttpResponse:
        """The data of one event: as part of the page, or with ``?whole`` as plain text."""
        self._require_view(request)
        rows = Event.objects.filter(run_id=run_id.replace("\x00", ""), sequence=sequence)
        event = rows.select_related("run").defer("run__input", "run__output", "run__error", "data").first()
        if event is None:
            raise Http404
        raw = with_raw(rows, "data").values_list("raw_data", flat=True)[0]
        text = Redactor([event.run_id], show=may_resume(request)).event(event.type, decrypted(raw) or "")
        return _value(request, text)

    def value_view(self, request: HttpRequest, run_id: str, name: str) -> HttpResponse:
        """The run's input, output or error, as :meth:`event_view` shows it."""
        self._require_view(request)
        run = run_page.load(run_id)
        if run is None or name not in ("input", "output", "error"):
            raise Http404
        text = Redactor([run.pk], show=may_resume(request)).stored(getattr(run, f"raw_{name}"))
        return _value(request, text or "")

    def act_view(self, request: HttpRequest, run_id: str, verb: str) -> HttpResponse:
        self._require_view(request)
        return actions.act(self.admin_site.each_context(request), request, run_id, verb)

    def resume_view(self, request: HttpRequest, run_id: str, hook_id: str) -> HttpResponse:
        self._require_view(request)
        return actions.resume(self.admin_site.each_context(request), request, run_id, hook_id)

    def dispose_view(self, request: HttpRequest, run_id: str, hook_id: str) -> HttpResponse:
        self._require_view(request)
        return actions.dispose(self.admin_site.each_context(request), request, run_id, hook_id)

    def overview_view(self, request: HttpRequest) -> HttpResponse:
        self._require_view(request)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Workflows at a glance"),
            "opts": self.opts,
            "media": self.media,
            **overview_context(request),
        }
        return TemplateResponse(request, "admin/django_workflows/overview.html", context)


def _value(request: HttpRequest, text: str) -> HttpResponse:
    if "whole" in request.GET:
        return HttpResponse(pretty(text), content_type="text/plain; charset=utf-8")
    context = {"value": shown(text), "url": request.path}
    return TemplateResponse(request, "admin/django_workflows/value.html", context)
