"""The list of runs by keyset: a page is found through the index by its edge, and nothing is ever counted in full."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

from ..eventlog.statuses import RunStatus
from ..inspection.counts import bounded
from ..inspection.keyset import NEWEST_FIRST, Page
from ..inspection.redaction import Redactor
from ..inspection.waiting import summary, waits_of
from ..models import Run
from ..values import clock
from .verbs import may_resume

#: how many runs one action takes at most; each is named on its confirmation page
MOST_AT_ONCE = 500
_BEFORE, _AFTER = "before", "after"


class RunChangeList(ChangeList):
    """Newest first. ``?before=`` and ``?after=`` name the run at a page's edge: ``<microseconds since 1970>.<id>``."""

    edges: dict[str, str]
    newer_url: str | None = None
    older_url: str | None = None
    newest_url: str | None = None

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Run]:
        self.edges = {}
        for name in (_BEFORE, _AFTER):
            value = self.params.pop(name, None)
            self.filter_params.pop(name, None)
            if value:
                self.edges[name] = value
        return super().get_queryset(request, exclude_parameters)

    def get_results(self, request: HttpRequest) -> None:
        size = self.list_per_page
        backwards = _AFTER in self.edges
        edge = self.edges.get(_AFTER) or self.edges.get(_BEFORE)
        page = NEWEST_FIRST.page(self.queryset, size, _position(edge) if edge else None, backwards=backwards)
        rows: list[Run] = page.rows
        now = clock.now()
        reasons = waits_of(rows, now)
        quoting = [run for run in rows if run.blocked_reason or run.status == RunStatus.FAILED]
        redact = Redactor([run.pk for run in quoting], show=may_resume(request))
        for run in rows:  # for the columns of the list; the ModelAdmin is shared by all requests
            run.wait_words = redact(summary(reasons[run.pk]))  # type: ignore[attr-defined]
            run.raw_error = redact.stored(run.raw_error)  # type: ignore[attr-defined]
            run.seen_at = now  # type: ignore[attr-defined]
        self._link(page)
        self.result_list: Any = rows
        # What "select all" reaches: as much as one action takes.
        whole = not (self.newer_url or self.older_url)
        self.result_count = len(rows) if whole else max(len(rows), bounded(self.queryset, MOST_AT_ONCE))
        self.full_result_count = self.result_count
        self.show_full_result_count = False
        self.show_admin_actions = bool(rows)
        self.can_show_all = self.multi_page = False
        self.paginator = Paginator(rows, size)

    def _link(self, page: Page) -> None:
        if not page.rows:
            self.newer_url = self.get_query_string() if self.edges else None
            return
        if page.has_previous:
            self.newer_url = self.get_query_string({_AFTER: _name(page.rows[0])})
        if page.has_next:
            self.older_url = self.get_query_string({_BEFORE: _name(page.rows[-1])})
        if self.edges:
            self.newest_url = self.get_query_string()


def _name(run: Run) -> str:
    return f"{_microseconds(run.created_at)}.{run.pk}"


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


def _position(text: str) -> tuple[datetime, str]:
    stamp, _, pk = text.partition(".")
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(stamp)), pk.replace("\x00", "")
    except (ValueError, OverflowError) as error:
        raise IncorrectLookupParameters(error) from error
