"""Pages by keyset: a page is found through an index by the row at its edge, so page 1,000 costs what page 1 does.

Rows that are added meanwhile never move those that a reader has yet to see, as they would with OFFSET.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet


@dataclass(frozen=True, slots=True)
class Page:
    """``rows`` in the order of the list. ``has_next``, ``has_previous``: whether to offer a page after, or before."""

    rows: list[Any]
    has_next: bool
    has_previous: bool


@dataclass(frozen=True, slots=True)
class Order:
    """A unique order over several columns, which are compared as a tuple."""

    columns: tuple[str, ...]
    descending: bool = False

    def page(
        self, rows: QuerySet[Any], size: int, position: Sequence[Any] | None = None, *, backwards: bool = False
    ) -> Page:
        """At most ``size`` rows after ``position`` (values of ``columns``), or before it; None: from the beginning."""
        falling = self.descending != backwards
        if position is not None:
            rows = rows.filter(_beyond(self.columns, position, falling=falling))
        found = list(rows.order_by(*(f"-{column}" if falling else column for column in self.columns))[: size + 1])
        more, found = len(found) > size, found[:size]
        if backwards:
            return Page(found[::-1], has_next=True, has_previous=more)
        return Page(found, has_next=more, has_previous=position is not None)


def _beyond(columns: Sequence[str], position: Sequence[Any], *, falling: bool) -> Q:
    """Rows after ``position`` in the order of ``columns``; the first one is bounded alone, which an index can use."""
    beyond, until = ("lt", "lte") if falling else ("gt", "gte")
    if len(columns) == 1:
        return Q(**{f"{columns[0]}__{beyond}": position[0]})
    rest = _beyond(columns[1:], position[1:], falling=falling)
    strictly = Q(**{f"{columns[0]}__{beyond}": position[0]})
    return Q(**{f"{columns[0]}__{until}": position[0]}) & (strictly | rest)


#: runs as every list shows them
NEWEST_FIRST = Order(("created_at", "id"), descending=True)
#: what belongs to one run, as its log has it
LOG_ORDER = Order(("sequence",))
