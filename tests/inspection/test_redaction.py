"""Secret tokens are recognised wherever they turn up, also those of other runs."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from django_workflows.inspection.redaction import MOST_LOOKED_UP, Redactor
from django_workflows.models import Hook, Run
from django_workflows.values.ids import new_token

pytestmark = pytest.mark.django_db


def run_with_hook(number: int, token: str, *, is_webhook: bool = False) -> str:
    now = timezone.now()
    run = Run.objects.create(
        id=f"wrun_{number:026}", workflow="w", queue="q", status="pending", input={}, seed="s", created_at=now, last_event_at=now
    )  # fmt: skip
    Hook.objects.create(
        id=f"hook_{number:026}",
        run=run,
        correlation_id="hook:1",
        token=token,
        is_webhook=is_webhook,
        created_at=now,
    )
    return str(run.pk)


class TestValue:
    def test_a_token_of_another_run_is_masked_wherever_it_stands(self) -> None:
        token = new_token()
        run_with_hook(1, token)
        value = {"a": [f"see {token}.", {token: 1}], "url": f"https://x.example/{token}/?t={token}"}
        hidden = Redactor([], show=False).value(value)
        assert token not in str(hidden)
        assert hidden["a"][0] == f"see {token[:4]}…."

    def test_what_only_looks_like_a_token_is_left_alone(self) -> None:
        run_with_hook(1, new_token())
        value = {"checksum": "0123456789abcdef0123456789abcdef"}
        assert Redactor([], show=False).value(value) == value

    @pytest.mark.parametrize("prefix", ["", "https://h.example", "https://h.example/shop"])
    def test_whatever_stands_behind_the_path_of_webhooks_is_masked(self, prefix: str) -> None:
        hidden = Redactor([], show=False).value(f"{prefix}/workflows/webhooks/order-17/ and so on")
        assert hidden == f"{prefix}/workflows/webhooks/orde…/ and so on"

    def test_a_chosen_token_of_a_webhook_is_masked_for_its_own_run_and_as_the_token_of_another(self) -> None:
        run = run_with_hook(1, "orders", is_webhook=True)
        assert Redactor([run], show=False).value({"x": "my-orders-1"}) == {"x": "my-orde…-1"}
        assert Redactor([], show=False).value({"token": "orders"}) == {"token": "orde…"}

    def test_a_short_chosen_token_is_not_looked_for_inside_words_and_keys_keep_their_names(self) -> None:
        runs = [run_with_hook(1, "in", is_webhook=True), run_with_hook(2, "status", is_webhook=True)]
        value = {"status": "running", "token": "in"}
        assert Redactor(runs, show=False).value(value) == {"status": "running", "token": "in…"}

    def test_a_chosen_token_of_a_hook_is_no_secret(self) -> None:
        run = run_with_hook(1, "packed:17")
        assert Redactor([run], show=False).value({"token": "packed:17"}) == {"token": "packed:17"}

    def test_all_texts_take_one_query(self, django_assert_num_queries: Any) -> None:
        tokens = [new_token() for _ in range(50)]
        with django_assert_num_queries(1):
            Redactor([], show=False).value([{"t": token} for token in tokens])

    def test_more_candidates_than_are_looked_up_are_masked_unasked(self) -> None:
        tokens = [f"{number:032}" for number in range(MOST_LOOKED_UP + 1)]
        hidden = Redactor([], show=False).value(tokens)
        assert hidden[0] == tokens[0]
        assert hidden[-1] == "0000…"

    def test_who_may_use_them_sees_them_without_a_query(self, django_assert_num_queries: Any) -> None:
        run = run_with_hook(1, token := new_token())
        with django_assert_num_queries(0):
            assert Redactor([run], show=True).value([token]) == [token]


class TestText:
    def test_an_event_hides_the_token_of_the_run_that_it_conflicts_with(self) -> None:
        run_with_hook(1, "orders", is_webhook=True)
        text = Redactor([], show=False).event("hook_conflict", '{"token": "orders", "owner": "wrun_1"}')
        assert text == '{"token": "orde…", "owner": "wrun_1"}'

    def test_the_seed_is_hidden_from_all(self) -> None:
        assert "abc" not in Redactor([], show=True).event("run_created", '{"seed": "abc"}')
