"""What a project's own tests look like: ``python -m example_project.manage test example_project``.

No worker runs and nothing waits: two days pass in no time, and the database is rolled back after each test.
"""

# ruff: noqa: PT009, PT027 - no pytest here

from __future__ import annotations

from decimal import Decimal
from unittest import mock

from django.test import TestCase
from django.urls import reverse

from django_workflows import FatalError, RunFailedError
from django_workflows.authoring.handles import RunHandle
from django_workflows.testing import Workflows, assert_replays, mock_step, run_workflow, survives_crash_everywhere

from . import workflows as shop
from .models import Charge, Order, Product


class ShopTestCase(TestCase):
    def setUp(self) -> None:
        self.product = Product.objects.create(name="Teapot", price=Decimal("19.90"), stock=3)
        self.order = Order.objects.create(product=self.product, customer="Ada", quantity=2)
        self.enterContext(mock.patch("example_project.shop.payments.time"))  # the provider answers at once
        self.pack = self.enterContext(mock_step(shop.pack, return_value="box-1"))
        self.notify = self.enterContext(mock_step(shop.notify_customer))

    def assert_order(self, status: str, *, stock: int) -> None:
        self.order.refresh_from_db()
        self.product.refresh_from_db()
        self.assertEqual((self.order.status, self.product.stock), (status, stock))


class FulfilOrderTests(ShopTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.workflows = self.enterContext(Workflows())

    def start(self) -> RunHandle:
        run = self.workflows.start(shop.fulfil_order, self.order.pk)
        self.workflows.run_until_idle()
        return run

    def test_an_approved_order_is_shipped(self) -> None:
        run = self.start()
        self.workflows.advance("1s")  # the provider is down at first; the step is tried again
        self.assert_order("paid", stock=1)

        self.workflows.resume(self.order.approval_token, {"approved": True})

        self.assertEqual(self.workflows.result(run)["box"], "box-1")
        self.assert_order("shipped", stock=1)
        self.notify.assert_called_once_with(self.order.pk)
        assert_replays(run)

    def test_an_order_that_is_not_approved_is_cancelled_after_two_days(self) -> None:
        run = self.start()
        self.workflows.advance("1d 23h")
        self.assertEqual(run.status(), "running")
        self.workflows.advance("2h")
        self.assertEqual(run.result(), {"status": "cancelled"})
        self.assert_order("cancelled", stock=3)
        self.assertTrue(Charge.objects.get().refunded)
        self.pack.assert_not_called()

    def test_a_card_is_charged_once_although_the_worker_dies(self) -> None:
        run = self.start()
        self.workflows.crash()
        self.workflows.advance("1m")
        self.workflows.crash()
        self.workflows.resume(self.order.approval_token, {"approved": True})
        self.assertEqual(self.workflows.result(run)["status"], "shipped")
        self.assertEqual(Charge.objects.count(), 1)

    def test_a_manager_approves_on_the_page(self) -> None:
        self.client.post(reverse("shop:orders"), {"product": self.product.pk, "customer": "Grace"})
        order = Order.objects.get(customer="Grace")
        self.workflows.advance("1s")
        self.client.post(reverse("shop:approve", args=[order.pk]))
        self.workflows.advance("1m")
        order.refresh_from_db()
        self.assertEqual(order.status, "shipped")

    def test_an_answer_that_is_not_awaited_is_reported(self) -> None:
        response = self.client.post(reverse("shop:approve", args=[self.order.pk]), follow=True)
        self.assertContains(response, "does not wait for an answer")


class FulfilOrderInOneCallTests(ShopTestCase):
    def test_without_stock_nothing_is_charged(self) -> None:
        Product.objects.update(stock=1)
        with self.assertRaises(RunFailedError) as caught:
            run_workflow(shop.fulfil_order, self.order.pk)
        self.assertIsInstance(caught.exception.__cause__, FatalError)
        self.assertFalse(Charge.objects.exists())

    def test_a_declined_card_ends_the_order(self) -> None:
        declines = mock_step(shop.charge_card, side_effect=FatalError("declined"))
        with declines as charge_card, self.assertRaisesMessage(RunFailedError, "declined"):
            run_workflow(shop.fulfil_order, self.order.pk)
        charge_card.assert_called_once_with(self.order.pk)

    def test_it_ends_the_same_wherever_its_worker_dies(self) -> None:
        def approve(workflows: Workflows, run: RunHandle) -> None:
            workflows.advance("1m")
            workflows.resume(self.order.approval_token, {"approved": True})

        survives_crash_everywhere(shop.fulfil_order, self.order.pk, script=approve)
