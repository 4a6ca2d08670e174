"""Pages by keyset hold every row once, forwards and backwards, also where many rows share a time."""

from __future__ import annotations

import pytest

from django_workflows import workflow
from django_workflows.inspection.keyset import NEWEST_FIRST, Order
from django_workflows.models import Run

pytestmark = [pytest.mark.sqlite, pytest.mark.django_db]


@workflow(name="paged.flow")
async def flow() -> None: ...


def ids(order: Order, size: int, *, backwards: bool = False) -> list[list[str]]:
    """The pages from one end to the other."""
    pages, position, more = [], None, True
    while more:
        page = order.page(Run.objects.all(), size, position, backwards=backwards)
        pages.append([run.pk for run in page.rows])
        edge = page.rows[0 if backwards else -1]
        position = [getattr(edge, column) for column in order.columns]
        more = page.has_previous if backwards else page.has_next
    return pages


@pytest.mark.parametrize("order", [NEWEST_FIRST, Order(("created_at", "id"))], ids=["newest first", "oldest first"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
def test_every_row_is_on_one_page(order: Order, size: int) -> None:
    flow.start_many([((), {})] * 4)  # of one and the same moment
    flow.start_many([((), {})] * 3)
    expected = sorted(Run.objects.all(), key=lambda run: (run.created_at, run.pk), reverse=order.descending)
    pages = ids(order, size)
    assert [pk for page in pages for pk in page] == [run.pk for run in expected]
    assert {len(page) for page in pages[:-1]} <= {size}
    backwards = ids(order, size, backwards=True)
    assert [pk for page in reversed(backwards) for pk in page] == [run.pk for run in expected]


def test_the_first_page_has_nothing_before_it_and_the_last_nothing_after() -> None:
    flow.start_many([((), {})] * 3)
    page = NEWEST_FIRST.page(Run.objects.all(), 2)
    assert (page.has_previous, page.has_next) == (False, True)
    edge = [page.rows[-1].created_at, page.rows[-1].pk]
    page = NEWEST_FIRST.page(Run.objects.all(), 2, edge)
    assert (page.has_previous, page.has_next) == (True, False)
    assert NEWEST_FIRST.page(Run.objects.none(), 2).rows == []


def test_a_row_that_comes_meanwhile_moves_no_page() -> None:
    flow.start_many([((), {})] * 4)
    page = NEWEST_FIRST.page(Run.objects.all(), 2)
    edge = [page.rows[-1].created_at, page.rows[-1].pk]
    seen = [run.pk for run in NEWEST_FIRST.page(Run.objects.all(), 2, edge).rows]
    flow.start()
    assert [run.pk for run in NEWEST_FIRST.page(Run.objects.all(), 2, edge).rows] == seen
