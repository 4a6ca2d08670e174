from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from django_workflows.authoring import registry
from django_workflows.authoring.steps import step
from django_workflows.authoring.workflows import workflow


@pytest.fixture(autouse=True)
def _isolated() -> Iterator[None]:
    with registry.isolated(empty=True):
        yield


def test_definitions_are_found_by_name_and_unknown_names_give_none() -> None:
    @step(name="shop.pay")
    def pay() -> None: ...

    @workflow(name="shop.order")
    async def order() -> None: ...

    assert registry.find_step("shop.pay") is pay
    assert registry.find_workflow("shop.order") is order
    assert registry.find_step("shop.order") is None
    assert registry.find_workflow("shop.pay") is None
    assert registry.step_names() == ["shop.pay"]
    assert registry.workflow_names() == ["shop.order"]


def test_two_definitions_with_one_name_fail_with_both_places_named() -> None:
    @step(name="pay")
    def first() -> None: ...

    with pytest.raises(ValueError, match="'pay'") as caught:

        @step(name="pay")
        def second() -> None: ...

    lines = [first.fn.__code__.co_firstlineno, first.fn.__code__.co_firstlineno + 5]
    for line in lines:
        assert f"{__name__}:{line}" in str(caught.value)
    assert registry.find_step("pay") is first


def test_a_step_and_a_workflow_may_share_a_name() -> None:
    @step(name="pay")
    def one() -> None: ...

    @workflow(name="pay")
    async def other() -> None: ...

    assert registry.find_step("pay") is not registry.find_workflow("pay")


def test_the_same_function_once_more_replaces_itself() -> None:
    def define() -> Any:
        @step
        def pay() -> None: ...

        return pay

    first, second = define(), define()
    assert first is not second
    assert registry.find_step(first.name) is second


def test_isolated_forgets_what_was_registered_inside() -> None:
    @step(name="outer")
    def outer() -> None: ...

    with registry.isolated():

        @step(name="inner")
        def inner() -> None: ...

        assert registry.step_names() == ["inner", "outer"]
        with registry.isolated(empty=True):
            assert registry.step_names() == []
    assert registry.step_names() == ["outer"]
