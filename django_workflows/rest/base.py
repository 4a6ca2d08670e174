"""What all views of the REST API share."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any, ClassVar

from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser, FormParser, MultiPartParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings

from ..exceptions import RunNotFoundError
from ..inspection.redaction import Redactor
from ..models import Run
from ..values.ids import new_id
from . import errors, schemas
from .pagination import CURSOR, PAGE_SIZE
from .permissions import has_model_permission, is_allowed, permissions_for
from .queries import rows

logger = logging.getLogger(__name__)

_ID_LENGTH = len(new_id("wrun"))


class JsonParser(BaseParser):
    """JSON as RFC 8259 has it: UTF-8 whatever the content type claims, no NaN. Everything else is a 400."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return json.loads(stream.read().decode("utf-8"), parse_constant=_refuse, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise ParseError(f"The body cannot be read as JSON: {str(error) or type(error).__name__}.") from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


class ApiView(GenericAPIView[Any]):
    """Closed unless the project opens it; errors as ``{"code", "detail"}``; its own throttle scope."""

    #: the model permission that the route needs
    needs = "view_run"
    throttle_scope = "workflows_api"
    # Our own, whatever the project's views use: a renderer that rewrites keys would rewrite them inside payloads, too,
    # and versions of another API are none of this one.
    parser_classes = (JsonParser, FormParser, MultiPartParser)
    renderer_classes: Any = (JSONRenderer,)
    content_negotiation_class = DefaultContentNegotiation
    versioning_class = None
    #: names that the query string may hold, besides those of the pages
    query_names: ClassVar[tuple[str, ...]] = ()
    #: whether browsers get a page with forms, where the project's own views give them one
    has_forms = True
    pagination_class: Any = None
    filter_backends = ()
    schema = schemas.auto_schema()
    queryset: Any = Run.objects.none()  # for permission classes that ask which model this is about

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        if request.encoding is not None:
            request.encoding = "utf-8"  # a foreign charset may be none at all, and then fails in odd places
        return super().initialize_request(request, *args, **kwargs)

    def get_renderers(self) -> list[BaseRenderer]:
        renderers: list[BaseRenderer] = list(super().get_renderers())
        wanted: Any = api_settings.DEFAULT_RENDERER_CLASSES
        if self.has_forms and any(issubclass(renderer, BrowsableAPIRenderer) for renderer in wanted):
            renderers.append(BrowsableAPIRenderer())
        return renderers

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        known = {*self.query_names, api_settings.URL_FORMAT_OVERRIDE}
        if self.pagination_class is not None:
            known |= {CURSOR, PAGE_SIZE}
        require_known(request.query_params, known - {None})

    def get_permissions(self) -> list[BasePermission]:
        return permissions_for(self.needs)

    def may(self, permission: str, run: Run | None = None) -> bool:
        """Whether the caller also has this permission, on this run."""
        return is_allowed(self.request, self, permission, run)

    def get_exception_handler(self) -> Any:
        return errors.handle

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        if response.status_code == errors.Unavailable.status_code:  # a page with forms would ask the database again
            self.request.accepted_renderer = JSONRenderer()
            self.request.accepted_media_type = JSONRenderer.media_type
        return response

    def cap(self, sizes: Sequence[int]) -> list[Any]:
        """The rows of the page that its bytes have room for. ``sizes``: of its rows, in their order."""
        paginator: Any = self.paginator
        rows: list[Any] = paginator.cap(sizes)
        return rows

    def redacted(self, data: Any, runs: Iterable[str] = ()) -> Any:
        """What is shown, with secret tokens only for those who may use them. ``runs``: those that it is about."""
        return self.redactor(runs).value(data)

    def redactor(self, runs: Iterable[str] = ()) -> Redactor:
        return Redactor(list(runs), show=has_model_permission(self.request.user, "resume_hook"))

    def get_run(self, run_id: str) -> Run:
        """The run that the URL names, if the caller may see it.

        Raises:
            RunNotFoundError: there is no such run.
        """
        if len(run_id) != _ID_LENGTH or not run_id.isascii() or not run_id.isprintable():
            raise RunNotFoundError(errors.printable(run_id[:_ID_LENGTH]))
        run = rows(Run).defer("input", "output", "error").filter(pk=run_id).first()
        if run is None:
            raise RunNotFoundError(run_id)
        self.check_object_permissions(self.request, run)
        return run


def require_known(given: Iterable[str], known: Collection[Any]) -> None:
    """Raises ValidationError for names that mean nothing here: a misspelt one must not be taken for one left out."""
    unknown = [name for name in given if name not in known]
    if unknown:
        sentence = f"Known here: {', '.join(sorted(map(str, known)))}." if known else "Nothing can be given here."
        raise ValidationError({errors.printable(name[:100]): [sentence] for name in unknown[:10]})


def contain(error: Exception, request: HttpRequest) -> HttpResponseBase:
    """The answer to a fault of ours where the path holds a token: Django's own log of it would show the path.

    To be called while the error is handled.
    """
    logger.error("%s at a route whose path holds a token.", type(error).__name__, exc_info=error)
    got_request_exception.send(sender=None, request=request)
    detail = "The server has failed; its log says more."
    return hide_from_log(JsonResponse({"code": "internal", "detail": detail}, status=500))


def hide_from_log(response: HttpResponseBase) -> HttpResponseBase:
    """Django logs the path of every refused request; where the path holds a token, it must not."""
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response
