"""Cursor pages over an order that never changes, and whose position is never taken on trust."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

from ..inspection.keyset import LOG_ORDER, NEWEST_FIRST, Order

CURSOR, PAGE_SIZE = "cursor", "page_size"
DEFAULT_SIZE, MAX_SIZE = 100, 500
#: bytes of stored payloads in one page, beside those of the row that goes beyond
MAX_BYTES = 16 * 1024 * 1024


def _read_time(value: Any) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.utcoffset() is None:
        raise ValueError("naive")
    return moment.astimezone(UTC)


def _read_sequence(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise ValueError("no sequence")
    return value


def _read_id(value: Any) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or len(value) > 40:
        raise ValueError("no id")
    return value


def _read_name(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > 255:
        raise ValueError("no name")
    return value


#: per column of an order: how its value is written into a cursor, and read out of one
_WRITERS: dict[str, Callable[[Any], Any]] = {"created_at": lambda moment: moment.astimezone(UTC).isoformat()}
_READERS: dict[str, Callable[[Any], Any]] = {
    "created_at": _read_time,
    "sequence": _read_sequence,
    "id": _read_id,
    "name": _read_name,
}


class KeysetPagination(BasePagination):
    """``{next, previous, results}`` like DRF's cursor pagination, for a unique order over several columns."""

    order: ClassVar[Order]

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self.request = request
        size = self._size(request)
        self.backwards, position = self._decode(request.query_params.get(CURSOR))
        self.page = self.order.page(queryset, size, position, backwards=self.backwards)
        return self.page.rows

    def cap(self, sizes: Sequence[int]) -> list[Any]:
        """The rows of the page that its bytes have room for, at least one. ``sizes``: of the rows, in their order.

        What is left out is on the page that follows; of a page that was read backwards, on the one before.
        """
        page, total, kept = self.page, 0, 0
        for size in reversed(sizes) if self.backwards else sizes:
            if total >= MAX_BYTES:
                break
            total, kept = total + size, kept + 1
        if kept < len(page.rows):
            if self.backwards:
                self.page = replace(page, rows=page.rows[-kept:], has_previous=True)
            else:
                self.page = replace(page, rows=page.rows[:kept], has_next=True)
        return self.page.rows

    def get_paginated_response(self, data: Any) -> Response:
        page = self.page
        following = self._encode(False, page.rows[-1]) if page.rows and page.has_next else None
        previous = self._encode(True, page.rows[0]) if page.rows and page.has_previous else None
        return Response({"next": self._link(following), "previous": self._link(previous), "results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": "string", "format": "uri", "nullable": True}
        properties = {"next": link, "previous": link, "results": schema}
        return {"type": "object", "required": ["next", "previous", "results"], "properties": properties}

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        cursor = {"name": CURSOR, "in": "query", "required": False, "schema": {"type": "string"}}
        size = {"type": "integer", "minimum": 1, "maximum": MAX_SIZE}
        return [
            {**cursor, "description": "Where a page begins: from `next` or `previous`."},
            {"name": PAGE_SIZE, "in": "query", "required": False, "schema": size, "description": "Rows of one page."},
        ]

    def _size(self, request: Request) -> int:
        text = request.query_params.get(PAGE_SIZE)
        if text is None:
            return DEFAULT_SIZE
        if not (text.isascii() and text.isdecimal()) or len(text) > 6 or int(text) < 1:
            raise ValidationError({PAGE_SIZE: [f"A whole number from 1 to {MAX_SIZE} is expected."]})
        return min(int(text), MAX_SIZE)

    def _encode(self, backwards: bool, row: Any) -> str:
        values = [_WRITERS.get(column, lambda value: value)(getattr(row, column)) for column in self.order.columns]
        text = json.dumps([int(backwards), *values], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def _decode(self, cursor: str | None) -> tuple[bool, list[Any] | None]:
        if cursor is None:
            return False, None
        try:
            padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
            backwards, *values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
            if backwards not in (0, 1) or len(values) != len(self.order.columns):
                raise ValueError("another order's cursor")
            read = [_READERS[column](value) for column, value in zip(self.order.columns, values, strict=True)]
        except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error):
            raise ValidationError({CURSOR: ["This is no cursor of this list."]}) from None
        return bool(backwards), read

    def _link(self, cursor: str | None) -> str | None:
        if cursor is None:
            return None
        url = self.request.build_absolute_uri()
        return replace_query_param(remove_query_param(url, CURSOR), CURSOR, cursor)


class NewestFirst(KeysetPagination):
    """Runs: newest first."""

    order = NEWEST_FIRST


class LogOrder(KeysetPagination):
    """What belongs to one run: in the order of its log."""

    order = LOG_ORDER
