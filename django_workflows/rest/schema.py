"""``api/schema/``: the OpenAPI 3 document of these routes."""

from __future__ import annotations

from typing import Any

from django.urls import include, path
from rest_framework.exceptions import NotFound
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from . import schemas
from .base import ApiView

_ROUTE = "api/schema/"


class OpenApiRenderer(JSONRenderer):
    """The document as JSON, under OpenAPI's own media type."""

    media_type = "application/vnd.oai.openapi+json"
    format = "openapi"


class Schema(ApiView):
    """``api/schema/``."""

    renderer_classes = (JSONRenderer, OpenApiRenderer)
    has_forms = False

    @schemas.extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        """The OpenAPI 3 document, with the paths under which the project has included the routes."""
        if not schemas.INSTALLED:
            raise NotFound("This needs drf-spectacular: install django-durable-workflows[openapi].")
        return Response(build_schema(request.path_info.removesuffix(_ROUTE)))


def build_schema(prefix: str) -> dict[str, Any]:
    """The document for routes under ``prefix``, such as ``/workflows/``."""
    from drf_spectacular.generators import SchemaGenerator

    patterns = [path(prefix.lstrip("/"), include("django_workflows.urls"))]
    generator: Any = SchemaGenerator
    document: dict[str, Any] = generator(patterns=patterns).get_schema(request=None, public=True)
    document["info"] = {
        "title": "Workflows",
        "version": "1",
        "description": "Runs of durable workflows: start, look at, act on, resume. Errors are `{code, detail}`.",
    }
    return document
