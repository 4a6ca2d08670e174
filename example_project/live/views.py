"""Place an order and watch its progress live."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from django_workflows import api
from django_workflows.exceptions import RunNotFoundError

from .workflows import live_order


def begin(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        what = request.POST.get("what", "").strip()[:60] or "a lamp"
        run = live_order.using(attributes={"page": "live"}).start(what)
        return redirect("live:order", run.id)
    return render(request, "live/begin.html")


@require_GET
def order(request: HttpRequest, run_id: str) -> HttpResponse:
    try:
        run = api.get_run(run_id)
    except RunNotFoundError:
        raise Http404 from None
    return render(request, "live/order.html", {"run_id": run.id})
