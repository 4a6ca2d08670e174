"""The lock file: a code change that breaks live runs is seen before it is deployed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import Warning as CheckWarning

from django_workflows import api, patched, sleep, step, workflow
from django_workflows.authoring import registry
from django_workflows.authoring.workflows import WORKFLOWS
from django_workflows.deploys import lockfile
from django_workflows.deploys.references import references
from django_workflows.deploys.surface import describe
from tests.recovery.conftest import Work

Body = Callable[..., Any]


@step(name="lock.reserve")
def reserve() -> str:
    return "reserved"


@step(name="lock.charge")
def charge_card() -> str:
    return "charged"


@step(name="lock.ship")
def ship(box: str = "small") -> str:
    return box


@workflow(name="lock.gift")
async def gift() -> str:
    return await ship()


async def by_hand() -> str:
    return await charge_card()


async def first_version() -> Any:
    await reserve()
    await charge_card()
    await sleep("1d")
    return await ship()


async def without_charge() -> Any:
    await reserve()
    await sleep("1d")
    return await ship()


async def with_a_patch() -> Any:
    await reserve()
    if not patched("no-charge"):
        await charge_card()
    await sleep("1d")
    return await ship()


@pytest.fixture(autouse=True)
def _registry(transactional_db: None, verified: None) -> Iterator[None]:
    with registry.isolated():
        for name in registry.workflow_names():
            WORKFLOWS.discard(name)
        WORKFLOWS.add(gift)
        yield


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    return tmp_path / lockfile.NAME


def order(body: Body) -> Any:
    """Deploy the workflow ``lock.order`` with this body."""
    WORKFLOWS.discard("lock.order")
    return workflow(name="lock.order")(body)


def steps_of(body: Body) -> set[str]:
    found = references(body)
    assert found is not None
    return found.steps


class TestReferences:
    def test_are_steps_in_the_body_and_in_functions_that_it_calls(self) -> None:
        async def body() -> None:
            async def inner() -> None:
                await reserve()

            await inner()
            await by_hand()

        assert steps_of(body) == {"lock.reserve", "lock.charge"}

    def test_of_a_workflow_called_inline_are_those_of_the_caller(self) -> None:
        async def body() -> None:
            await gift()

        assert steps_of(body) == {"lock.ship"}

    def test_of_a_workflow_started_as_a_child_are_not(self) -> None:
        async def body() -> None:
            await gift.astart()
            await gift.using(priority=1).astart()

        found = references(body)
        assert found is not None
        assert (found.steps, found.children) == (set(), {"lock.gift"})

    def test_are_patches_with_their_names(self) -> None:
        found = references(with_a_patch)
        assert found is not None
        assert found.patches == {"no-charge"}

    def test_are_steps_in_collections(self) -> None:
        plan = [reserve, charge_card]

        async def body() -> None:
            for one in plan:
                await one()

        assert steps_of(body) == {"lock.reserve", "lock.charge"}


class TestCheck:
    def test_says_that_a_step_was_removed_while_runs_are_past_it(self, work: Work, locked: Path) -> None:
        definition = order(first_version)
        for _ in range(3):
            definition.start()
        work()
        lockfile.make(locked)

        order(without_charge)
        (finding,) = lockfile.check(locked)

        assert finding.severity == "error"
        assert str(finding) == (
            "step `lock.charge` was removed from `lock.order` while 3 runs are past it: keep it or use patched()"
        )

    def test_counts_no_run_that_has_ended_or_not_reached_the_step(self, work: Work, locked: Path) -> None:
        async def waiting_before() -> None:
            await sleep("1d")
            await charge_card()

        order(waiting_before).start()
        work()
        lockfile.make(locked)

        async def simply_waiting() -> None:
            await sleep("1d")

        order(simply_waiting)
        (finding,) = lockfile.check(locked)
        assert finding.severity == "info"
        assert "out of date" in finding.sentence

    def test_takes_a_patch_for_an_answer(self, work: Work, locked: Path) -> None:
        order(first_version).start()
        work()
        lockfile.make(locked)

        order(with_a_patch)

        assert [finding.severity for finding in lockfile.check(locked)] == ["info"]

    def test_says_that_a_workflow_was_removed(self, work: Work, locked: Path) -> None:
        order(first_version).start()
        work()
        lockfile.make(locked)

        WORKFLOWS.discard("lock.order")
        (finding,) = lockfile.check(locked)
        assert finding.sentence == "workflow `lock.order` was removed while 1 run is under way"

    def test_says_that_arguments_no_longer_fit(self, locked: Path) -> None:
        async def old(order_id: int) -> None: ...
        async def new(order_id: int, box: str) -> None: ...

        order(old).start(1)
        lockfile.make(locked)
        order(new)
        (finding,) = lockfile.check(locked)
        assert finding.severity == "error"
        assert "`lock.order(order_id)` became `(order_id, box)` while 1 run is under way" in finding.sentence

    def test_has_nothing_against_a_parameter_with_a_default(self, locked: Path) -> None:
        async def old(order_id: int) -> None: ...
        async def new(order_id: int, box: str = "small") -> None: ...

        order(old).start(1)
        lockfile.make(locked)
        order(new)
        assert [finding.severity for finding in lockfile.check(locked)] == ["info"]

    def test_warns_of_a_step_that_came_in_unguarded(self, work: Work, locked: Path) -> None:
        order(without_charge).start()
        work()
        lockfile.make(locked)
        order(first_version)
        (finding,) = lockfile.check(locked)
        assert finding.severity == "warning"
        assert "guard it with patched()" in finding.advice

    def test_is_silent_where_nothing_has_changed(self, locked: Path) -> None:
        order(first_version)
        lockfile.make(locked)
        assert lockfile.check(locked) == []

    @pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', "null"])
    def test_refuses_a_file_that_is_no_lock_file(self, locked: Path, text: str) -> None:
        locked.write_text(text)
        with pytest.raises(ValueError, match="cannot be read as a lock file: write it anew with `workflows makelock`"):
            lockfile.check(locked)

    @pytest.mark.parametrize("written", [1, 99])
    def test_says_of_a_file_of_another_format_which_it_is(self, locked: Path, written: int) -> None:
        locked.write_text(json.dumps({"format": written, "workflows": {}, "steps": {}}))
        with pytest.raises(ValueError, match=f"has format {written}, and this version reads format 2: .*makelock"):
            lockfile.check(locked)

    def test_warns_of_a_body_whose_source_cannot_be_read(self, work: Work, locked: Path) -> None:
        order(first_version).start()
        work()
        lockfile.make(locked)
        scope: dict[str, Any] = {"sleep": sleep}
        exec("async def body():\n    await sleep('1d')\n", scope)
        order(scope["body"])
        (finding,) = lockfile.check(locked)
        assert finding.severity == "warning"
        assert "the source of `lock.order` could not be read" in finding.sentence
        assert list(lockfile.patch_states(describe())) == []


class TestPatchStates:
    def test_say_how_many_runs_go_the_old_way(self, work: Work) -> None:
        order(first_version).start()
        work()
        order(with_a_patch).start()
        work()
        (finding,) = lockfile.patch_states(describe())
        assert finding.sentence == 'patched("no-charge") in `lock.order`: 1 run goes the old way'

    def test_say_when_the_call_can_be_removed_and_then_it_can(self, work: Work) -> None:
        run = order(with_a_patch).start()
        work()
        (finding,) = lockfile.patch_states(describe())
        assert "can be removed" in finding.advice

        order(without_charge)
        api.wake_run(run.id)
        work()
        assert run.result(timeout=0) == "small"


class TestSystemCheck:
    @pytest.fixture(autouse=True)
    def _base(self, settings: Any, tmp_path: Path) -> None:
        settings.BASE_DIR = tmp_path

    def test_says_the_same(self, work: Work) -> None:
        order(first_version).start()
        work()
        lockfile.make()
        order(without_charge)
        (message,) = lockfile.check_lock()
        assert isinstance(message, CheckWarning)
        assert message.id == "django_workflows.W030"
        assert message.msg.startswith("Step `lock.charge` was removed")

    def test_says_nothing_without_a_lock_file(self) -> None:
        assert lockfile.check_lock() == []

    def test_does_not_speak_of_changes_that_concern_no_run(self) -> None:
        order(first_version)
        lockfile.make()
        order(without_charge)
        assert lockfile.check_lock() == []

    def test_says_that_the_file_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / lockfile.NAME).write_text("{")
        (message,) = lockfile.check_lock()
        assert message.id == "django_workflows.W031"


def test_the_arguments_of_a_lock_file_show_names_and_which_have_defaults() -> None:
    @workflow(name="lock.args")
    async def body(a: int, b: str = "x", *args: Any, c: bool, d: Any = None, **more: Any) -> None: ...

    assert describe()["workflows"]["lock.args"]["arguments"] == "(a, b=…, *args, c, d=…, **more)"
