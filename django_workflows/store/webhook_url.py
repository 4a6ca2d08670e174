"""The addresses of webhooks."""

from __future__ import annotations

from django.urls import NoReverseMatch, reverse

from .. import conf


def webhook_url(token: str) -> str:
    """The webhook's absolute URL: ``BASE_URL`` and the path at which the project has included the URLs.

    Where they are not included the usual path is given, so that a body never decides by its project's URLs.
    """
    try:
        path = reverse("django_workflows:webhook", args=[token])
    except NoReverseMatch:
        path = f"/workflows/webhooks/{token}/"
    return str(conf.settings.BASE_URL).rstrip("/") + path
