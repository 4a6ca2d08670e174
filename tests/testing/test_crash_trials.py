"""``survives_crash_everywhere`` and ``assert_replays``: what they report, and what they do not."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest
from django.test import TestCase, TransactionTestCase

from django_workflows import create_hook, get_step_metadata, patched, sleep, step, workflow
from django_workflows.authoring import registry
from django_workflows.authoring.handles import RunHandle
from django_workflows.models import Run
from django_workflows.testing import Workflows, assert_replays, mock_step, run_workflow, survives_crash_everywhere
from django_workflows.values import clock
from tests.shop.models import Ledger

from . import work

pytestmark = pytest.mark.sqlite


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    with registry.isolated():
        yield


class Behaviour:
    def test_atomic_steps_survive_everywhere(self) -> None:
        @workflow(name="kit.all_atomic")
        async def all_atomic() -> list[int]:
            await asyncio.gather(*[work.write_once(str(n)) for n in range(3)])
            await sleep("1h")
            await work.charge(1)
            return [1]

        points = survives_crash_everywhere(all_atomic)
        assert len(points) >= 8
        assert not Run.objects.exists()
        assert not Ledger.objects.exists()
        assert not clock.offset()

    def test_a_step_that_inserts_twice_is_found(self) -> None:
        with pytest.raises(AssertionError) as caught:
            survives_crash_everywhere(work.ledger)
        assert "after kit.write_ledger had run and before its end was recorded" in str(caught.value)
        assert "shop.Ledger 2 became 3. kit.write_ledger ran twice: make it atomic=True" in str(caught.value)
        assert str(caught.value).count("\n") == 1

    def test_steps_may_be_left_out(self) -> None:
        assert survives_crash_everywhere(work.ledger, repeat_steps=False)

    def test_a_script_plays_the_outside(self) -> None:
        def script(workflows: Workflows, run: RunHandle[str]) -> None:
            workflows.advance("1d")
            workflows.resume("packed:5", {"box": "B7"})

        assert survives_crash_everywhere(work.waiting, "packed:5", script=script)

    def test_a_body_that_is_not_deterministic_is_found(self) -> None:
        numbers = itertools.count()

        @workflow(name="kit.counts")
        async def counts() -> int:
            await work.charge(next(numbers))
            await work.charge(0)
            return 1

        with pytest.raises(
            AssertionError, match=r"replay_divergence: .*the log says step kit.charge\(0\), the code now says"
        ):
            survives_crash_everywhere(counts)

    def test_children_tokens_and_retries_are_the_same_every_time(self) -> None:
        @workflow(name="kit.tokens")
        async def tokens() -> tuple[str, str, str]:
            with create_hook() as hook:
                child = await work.simple.astart(1)
                await work.flaky()
                return hook.token, child.id, await child.aresult()

        assert survives_crash_everywhere(tokens)

    def test_any_state_can_be_compared(self) -> None:
        effects: list[str] = []

        @step(name="kit.effect")
        def effect() -> None:
            effects.append(get_step_metadata().step_id)

        @workflow(name="kit.effects")
        async def affects() -> None:
            await effect()

        def state() -> int:
            count = len(effects)
            effects.clear()
            return count

        with pytest.raises(AssertionError, match=r"the state: 1 became 2\. kit.effect ran twice"):
            survives_crash_everywhere(affects, state=state)


class TestInATransaction(Behaviour, TestCase):
    pass


class TestWithRealCommits(Behaviour, TransactionTestCase):
    pass


@pytest.mark.django_db
class TestAssertReplays:
    def test_takes_a_run_that_has_ended(self) -> None:
        run_workflow(work.parent)
        for run in Run.objects.all():
            assert_replays(run)

    def test_takes_a_run_that_has_not_ended(self, workflows: Workflows) -> None:
        run = workflows.start(work.waiting, "packed:1")
        workflows.run_until_idle()
        assert_replays(run)

    def test_fails_with_code_that_decides_otherwise(self, workflows: Workflows) -> None:
        run = workflows.start(work.simple, 1)
        workflows.result(run)

        @workflow(name="kit.changed")
        async def changed(order_id: int) -> str:
            await sleep(1)
            return await work.charge(order_id)

        with pytest.raises(AssertionError, match=r"(?s)does not fit the log.*step kit.charge\(1\).*sleep until"):
            assert_replays(run, workflow=changed)

    def test_fits_code_that_was_patched(self, workflows: Workflows) -> None:
        run = workflows.start(work.simple, 1)
        workflows.result(run)

        @workflow(name="kit.patched")
        async def changed(order_id: int) -> str:
            if patched("wait-first"):
                await sleep(1)
            return await work.charge(order_id)

        assert_replays(run, workflow=changed)

    def test_mocks_do_not_change_the_logs_shape(self, workflows: Workflows) -> None:
        with mock_step(work.charge, return_value="ch_x"):
            run = workflows.start(work.simple, 1)
            workflows.result(run)
        assert_replays(run)
