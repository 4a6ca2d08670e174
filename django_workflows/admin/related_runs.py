"""Runs about an object, on that object's own admin page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.forms import Media
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ..inspection.search import attributes_about, runs_with_attribute
from ..inspection.text import format_age, short_name
from ..inspection.waiting import summary, waits_of
from ..models import Run
from ..values import clock
from .rendering import GLYPHS, run_url
from .site import admin_url, enter

#: runs that are shown, the newest
MOST = 15


class RunsAboutMixin:
    """For a ``ModelAdmin``: shows the runs started with ``using(about=obj)``, the newest first.

    ::

        @admin.register(Order)
        class OrderAdmin(RunsAboutMixin, admin.ModelAdmin): ...

    Runs that carry other attributes are found with ``workflow_attributes(obj)`` -> ``{key: value}``: a run is shown
    when it has one of them. Users without permission to view runs do not see the section.
    """

    @property
    def media(self) -> Media:
        found: Media = super().media + Media(css={"all": ("django_workflows/admin.css",)})  # type: ignore[misc]
        return found

    def workflow_attributes(self, obj: Any) -> dict[str, str]:
        return attributes_about(obj)

    def workflow_runs(self, obj: Any) -> SafeString:
        if obj is None or obj.pk is None:
            return SafeString("")
        site: Any = self.admin_site  # type: ignore[attr-defined]
        enter(site.name if site.is_registered(Run) else "admin")
        return runs_about(self.workflow_attributes(obj))

    workflow_runs.short_description = _("Runs about this")  # type: ignore[attr-defined]

    def _shows_runs(self, request: HttpRequest, obj: Any) -> bool:
        user: Any = request.user
        return obj is not None and bool(user.has_perm("django_workflows.view_run"))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Sequence[Any]:
        fields = list(super().get_readonly_fields(request, obj))  # type: ignore[misc]
        if self._shows_runs(request, obj) and "workflow_runs" not in fields:
            fields.append("workflow_runs")
        return fields

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        found = super().get_fieldsets(request, obj)  # type: ignore[misc]
        if not self._shows_runs(request, obj):
            return found
        others = [(name, {**options, "fields": _without(options["fields"])}) for name, options in found]
        return [*others, (_("Workflow runs"), {"fields": ("workflow_runs",), "classes": ("wf-about",)})]


def _without(fields: Sequence[Any]) -> list[Any]:
    return [field for field in fields if field != "workflow_runs"]


def runs_about(attributes: dict[str, str]) -> SafeString:
    """The runs that have one of these attributes as an HTML table."""
    ids = {pk for key, value in attributes.items() for pk in runs_with_attribute([key], value)}
    rows = Run.objects.filter(pk__in=ids).defer("input", "output", "error")
    runs = list(rows.order_by("-created_at", "-id")[: MOST + 1])
    now = clock.now()
    reasons = waits_of(runs[:MOST], now)
    key, value = next(iter(attributes.items()), ("", ""))
    listed = [
        {
            "name": short_name(run.workflow),
            "id": run.pk,
            "url": run_url(run.pk),
            "status": "blocked" if run.blocked_reason and run.completed_at is None else run.status,
            "glyph": GLYPHS["blocked" if run.blocked_reason and run.completed_at is None else run.status],
            "waits": summary(reasons[run.pk]),
            "age": format_age(run.created_at, now),
        }
        for run in runs[:MOST]
    ]
    every = f"{admin_url('run_changelist')}?{urlencode({'attribute': f'{key}={value}'})}"
    context = {"runs": listed, "more": len(runs) > MOST, "every": every}
    return SafeString(render_to_string("admin/django_workflows/about.html", context))
