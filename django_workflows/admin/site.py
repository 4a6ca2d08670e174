"""Which admin site a page belongs to: a project may have several, and links lead to the one that was asked."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any

from django.urls import URLPattern, reverse

#: the name of the site that answers the present request
_site: ContextVar[str] = ContextVar("django_workflows.admin_site", default="admin")


def enter(site: str) -> None:
    """From now on, in this request, links lead to this site. Each view enters its own, so none is left behind."""
    _site.set(site)


def on_site(pattern: URLPattern, site: str) -> URLPattern:
    """The route, whose view enters the site: also for what its template asks after the view has returned."""
    view: Callable[..., Any] = pattern.callback

    @wraps(view)
    def entered(*args: Any, **kwargs: Any) -> Any:
        enter(site)
        return view(*args, **kwargs)

    return URLPattern(pattern.pattern, entered, pattern.default_args, pattern.name)


def admin_url(name: str, *args: Any) -> str:
    """The path of a page of the admin, ``run_change`` for example, on the site that is entered."""
    return reverse(f"admin:django_workflows_{name}", args=args, current_app=_site.get())
