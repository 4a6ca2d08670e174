"""The filters of the list of runs. Their choices come from a few looks into an index, never from all runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ..eventlog.statuses import RunStatus
from ..inspection.run_filter import RunFilter
from ..inspection.search import runs_with_attribute, used_attributes, used_queues, used_workflows
from ..inspection.text import short_name
from ..models import Run
from ..values import clock


def _chosen(chosen: SimpleListFilter) -> list[str]:
    value = chosen.value()
    return [value] if value else []


class StatusFilter(SimpleListFilter):
    """Runs of one status."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.value, status.value) for status in RunStatus]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        return RunFilter(statuses=_chosen(self)).apply(queryset)


class BlockedFilter(SimpleListFilter):
    """Parked runs only."""

    title = _("blocked")
    parameter_name = "blocked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("blocked: the code does not fit"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        return RunFilter(blocked=self.value() == "yes").apply(queryset)


class WorkflowFilter(SimpleListFilter):
    """Runs of one workflow: by its short name where that is unique."""

    title = _("workflow")
    parameter_name = "workflow"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = used_workflows()
        same = Counter(short_name(name) for name in names)
        shown = [(name, short_name(name) if same[short_name(name)] == 1 else name) for name in names]
        return sorted(shown, key=lambda choice: choice[1])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        return RunFilter(workflows=_chosen(self)).apply(queryset)


class QueueFilter(SimpleListFilter):
    """Runs of one queue, among those in use."""

    title = _("queue")
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        given = request.GET.get(self.parameter_name)
        return [(name, name) for name in sorted({*used_queues(), *([given] if given else [])})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        return RunFilter(queues=_chosen(self)).apply(queryset)


class CreatedFilter(SimpleListFilter):
    """Runs created in the last hour, day, week or month."""

    title = _("time of creation")
    parameter_name = "since"

    _SPANS = {
        "1h": (_("the last hour"), timedelta(hours=1)),
        "24h": (_("the last 24 hours"), timedelta(hours=24)),
        "7d": (_("the last 7 days"), timedelta(days=7)),
        "30d": (_("the last 30 days"), timedelta(days=30)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(key, words) for key, (words, _span) in self._SPANS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        found = self._SPANS.get(self.value() or "")
        return RunFilter(since=clock.now() - found[1] if found else None).apply(queryset)


class AttributeFilter(SimpleListFilter):
    """A field to type ``key=value`` into; the keys in use are suggested."""

    title = _("attribute")
    parameter_name = "attribute"
    template = "admin/django_workflows/attribute_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(key, key) for key in used_attributes()]

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        # not RunFilter's condition: with the list's order beside it, a rare attribute is looked for in all runs
        key, _equals, value = (self.value() or "").replace("\x00", "").partition("=")
        if not key.strip():
            return queryset
        return queryset.filter(pk__in=runs_with_attribute([key.strip()], value.strip()))

    def choices(self, changelist: Any) -> Iterator[Any]:
        others = {name: value for name, value in changelist.params.items() if name != self.parameter_name}
        yield {
            "selected": bool(self.value()),
            "display": self.value() or "",
            "query_string": changelist.get_query_string(remove=[self.parameter_name]),
            "name": self.parameter_name,
            "others": list(others.items()),
            "keys": [f"{key}=" for key, _key in self.lookup_choices],
        }
