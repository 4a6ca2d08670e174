"""References to model instances: what is stored is which one, not what was in it."""

from __future__ import annotations

from uuid import UUID

import pytest

from django_workflows import ModelRef, RunFailedError, step, workflow
from django_workflows.authoring.model_refs import ObjectGoneError
from django_workflows.models import Event
from django_workflows.serialization import dumps, loads
from django_workflows.testing import Workflows, assert_replays
from tests.shop.models import Ledger, Order

pytestmark = [pytest.mark.sqlite, pytest.mark.django_db]


@step(name="refs.pay", max_retries=5)
def pay(ref: ModelRef[Order]) -> ModelRef[Order]:
    order = ref.get()
    order.status = "paid"
    order.save()
    return ref


@step(name="refs.read")
async def read(ref: ModelRef[Order]) -> str:
    return (await ref.aget()).status


@step(name="refs.drop")
def drop(ref: ModelRef[Order]) -> None:
    ref.queryset().delete()


@workflow(name="refs.fulfil")
async def fulfil(ref: ModelRef[Order]) -> str:
    assert await pay(ref) == ref
    return await read(ref)


@workflow(name="refs.lost")
async def lost(ref: ModelRef[Order]) -> None:
    await drop(ref)
    await pay(ref)


@workflow(name="refs.peeking")
async def peeking(ref: ModelRef[Order]) -> str:
    return ref.get().status


def test_it_is_fetched_again_in_each_step(workflows: Workflows) -> None:
    order = Order.objects.create()
    run = workflows.start(fulfil, ModelRef.of(order))
    assert workflows.result(run) == "paid"
    assert_replays(run)
    event = Event.objects.get(type="step_created", correlation_id="step:refs.pay:1".replace("refs.", ""))
    assert event.payload["args"] == [ModelRef("shop.Order", order.pk)]


def test_an_object_that_is_gone_fails_the_step_at_once(workflows: Workflows) -> None:
    order = Order.objects.create()
    with pytest.raises(RunFailedError) as caught:
        workflows.run(lost, ModelRef.of(order))
    gone = caught.value.__cause__
    assert isinstance(gone, ObjectGoneError)
    assert (gone.label, gone.pk, gone.database) == ("shop.Order", order.pk, "default")
    assert str(gone) == f"shop.Order {order.pk} is not in the database 'default' any more."
    assert not Event.objects.filter(type="step_retrying").exists()


def test_a_body_cannot_load_it(workflows: Workflows) -> None:
    with pytest.raises(RunFailedError, match=r"cannot load <shop\.Order"):
        workflows.run(peeking, ModelRef.of(Order.objects.create()))


def test_only_saved_instances_have_one() -> None:
    with pytest.raises(ValueError, match="has not been saved"):
        ModelRef.of(Order())
    with pytest.raises(TypeError, match="takes a model instance"):
        ModelRef.of(Order)  # type: ignore[type-var]


@pytest.mark.parametrize("pk", [1, "a", UUID(int=5), (1, "b")])
def test_keys_of_any_kind_come_back_as_they_were(pk: object) -> None:
    ref = ModelRef[Order]("shop.Order", pk, "other")
    assert loads(dumps(ref)) == ref
    assert len({ref, loads(dumps(ref)), ModelRef[Ledger]("shop.Ledger", pk, "other")}) == 2
