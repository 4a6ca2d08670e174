"""The addresses of webhooks."""

from __future__ import annotations

from django.conf import settings as django_settings
from django.urls import NoReverseMatch, get_script_prefix, reverse

from .. import conf

_ROUTE = "django_workflows:webhook"


def webhook_url(token: str) -> str:
    """The webhook's absolute URL: ``BASE_URL`` and the path at which the project has included the URLs.

    Where they are not included the usual path is given, so that a body never decides by its project's URLs. The prefix
    below which the site lies is ``FORCE_SCRIPT_NAME``: Django sets it for requests, and a body runs in none.
    """
    prefix = get_script_prefix()
    try:
        path = reverse(_ROUTE, args=[token])
    except NoReverseMatch:
        path = f"{prefix}workflows/webhooks/{token}/"
    if django_settings.FORCE_SCRIPT_NAME is not None:
        path = f"{django_settings.FORCE_SCRIPT_NAME.rstrip('/')}/{path.removeprefix(prefix)}"
    return str(conf.settings.BASE_URL).rstrip("/") + path


def webhook_prefix() -> str:
    """What stands before the token in the path of every webhook, below the prefix of the site."""
    try:
        path = reverse(_ROUTE, args=["token"])
    except NoReverseMatch:
        return "/workflows/webhooks/"
    return "/" + path.removeprefix(get_script_prefix()).removesuffix("token/")


def is_included() -> bool:
    """Whether the project has included the URLs of webhooks."""
    try:
        reverse(_ROUTE, args=["token"])
    except NoReverseMatch:
        return False
    return True
