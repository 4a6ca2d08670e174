"""Code that does not fit its log: both sides are named, nothing is decided."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from django_workflows.authoring.primitives import create_hook, create_webhook, patched, set_attributes, sleep
from django_workflows.authoring.workflows import workflow
from django_workflows.eventlog import events
from django_workflows.exceptions import ReplayDivergenceError

from .steps import a, b, charge
from .support import Run, check_replays, finish

Body = Callable[[], Coroutine[Any, Any, Any]]


async def step_one() -> Any:
    return await charge(41)


async def step_other_args() -> Any:
    return await charge(42)


async def other_step() -> Any:
    return await a(41)


async def a_sleep() -> Any:
    await sleep(60)


async def longer_sleep() -> Any:
    await sleep(61)


async def a_hook() -> Any:
    return await create_hook("order:1")


async def other_hook() -> Any:
    return await create_hook("order:2")


async def as_webhook() -> Any:
    return await create_webhook(token="order:1")


async def attributes() -> Any:
    set_attributes(x=1)
    await a()


async def other_attributes() -> Any:
    set_attributes(x=2)
    await a()


async def nothing() -> Any:
    return {"id": 1}


async def fails() -> Any:
    raise ValueError("no")


async def two_steps() -> Any:
    await asyncio.gather(a(), b())


async def two_steps_swapped() -> Any:
    await asyncio.gather(b(), a())


@pytest.mark.parametrize(
    ("old", "new", "log_says", "code_says"),
    [
        (
            step_one,
            step_other_args,
            r"step tests\.engine\.steps\.charge\(41\)",
            r"step tests\.engine\.steps\.charge\(42\)",
        ),
        (step_one, other_step, r"charge\(41\)", r"steps\.a\(41\)"),
        (step_one, a_sleep, "charge", "sleep until 2026-01-01T00:01:00"),
        (a_sleep, longer_sleep, r"00:01:00\.002", r"00:01:01\.002"),
        (a_hook, other_hook, "hook:1 with token 'order:1'", "hook:1 with token 'order:2'"),
        (a_hook, as_webhook, "order:1", "hook:1 with a secret token"),
        (attributes, other_attributes, r"attributes \{'x': '1'\}", r"attributes \{'x': '2'\}"),
        (step_one, nothing, "charge", r"the end, returning \{'id': 1\}"),
        (nothing, step_one, r"the end, returning \{'id': 1\}", "charge"),
        (nothing, fails, r"the end, returning", "the end, raising ValueError: no"),
        (fails, nothing, "the end, raising ValueError: no", "the end, returning"),
        (two_steps, two_steps_swapped, r"steps\.a\(\)", r"steps\.b\(\)"),
        (two_steps, a_hook, "step", "hook:1"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_both_sides_are_named(old: Body, new: Body, log_says: str, code_says: str) -> None:
    run = Run(workflow(name="w")(old)).start()
    run.workflow = workflow(name="w2")(new)
    execution = run.new_execution()
    with pytest.raises(ReplayDivergenceError) as caught:
        execution.replay(run.records)
    assert caught.value.sequence == 3
    assert_matches(log_says, caught.value.expected)
    assert_matches(code_says, caught.value.actual)
    execution.close()


def assert_matches(pattern: str, text: str) -> None:
    assert re.search(pattern, text), f"{pattern!r} is not in {text!r}"


def test_a_body_that_decides_nothing_more_where_the_log_continues() -> None:
    @workflow(name="w")
    async def old() -> Any:
        await a()
        await b()

    @workflow(name="w2")
    async def new() -> Any:
        await a()
        await asyncio.get_running_loop().create_future()

    run = Run(old).start()
    run.complete("a")
    run.workflow = new
    with pytest.raises(ReplayDivergenceError, match=r"the log says step .*b\(\), the code now says nothing more"):
        run.new_execution().replay(run.records)


def test_secrets_are_not_named() -> None:
    @workflow(name="w")
    async def old() -> Any:
        await create_hook()

    run = Run(old).start()
    token = run.records[-1].payload["token"]
    run.workflow = workflow(name="w2")(step_one)
    with pytest.raises(ReplayDivergenceError) as caught:
        run.new_execution().replay(run.records)
    assert token not in str(caught.value)
    assert "hook:1 with a secret token" in str(caught.value)


def test_a_cached_body_notices_too() -> None:
    run = Run(workflow(step_one)).start()
    run.log.append(events.WaitCreated(run.log.now + timedelta(1)), "wait:9")
    with pytest.raises(ReplayDivergenceError, match="nothing more"):
        run.advance()


def test_values_written_in_another_order_of_keys_are_the_same_arguments() -> None:
    @workflow(name="w")
    async def old() -> Any:
        await a({"x": 1, "y": {1, 2}})

    @workflow(name="w2")
    async def new() -> Any:
        await a({"y": {2, 1}, "x": 1})

    run = Run(old).start()
    run.workflow = new
    run.restart()
    run.complete("a")
    assert run.output is None


def test_one_and_one_point_zero_are_different_arguments() -> None:
    @workflow(name="w")
    async def old() -> Any:
        await a(1)

    @workflow(name="w2")
    async def new() -> Any:
        await a(1.0)

    run = Run(old).start()
    run.workflow = new
    with pytest.raises(ReplayDivergenceError):
        run.restart()


def test_another_queue_is_no_divergence() -> None:
    run = Run(workflow(step_one)).start()
    record = run.records[-1]
    data = record.data.replace('"default"', '"slow"')
    run.records[-1] = events.Record(record.sequence, record.type, record.correlation_id, data, record.created_at)
    run.restart()
    run.complete("charge")


def test_a_value_that_cannot_be_read_is_described_by_its_type() -> None:
    run = Run(workflow(step_one)).start()
    record = run.records[-1]
    data = '{"name":"x","args":[{"$":"gone","v":1}],"kwargs":{},"queue":"q"}'
    run.records[-1] = events.Record(record.sequence, record.type, record.correlation_id, data, record.created_at)
    with pytest.raises(ReplayDivergenceError, match="the log says step_created step:charge:1"):
        run.new_execution().replay(run.records)


# --- patched ---------------------------------------------------------------------------------------------------------


async def before_patch() -> Any:
    await a()
    await b()


async def after_patch() -> Any:
    await a()
    if patched("charge-first"):
        await charge(1)
    await b()


def patch_run(start_with: Body) -> Run:
    return Run(workflow(name=f"w{start_with.__name__}")(start_with)).start()


def test_a_run_that_reaches_the_line_under_the_new_code_takes_the_new_way_and_keeps_to_it() -> None:
    run = patch_run(before_patch)
    run.workflow = workflow(name="new")(after_patch)
    run.restart()
    run.complete("a")
    assert run.types[-2:] == ["patch_recorded", "step_created"]
    run.restart()
    assert list(run.log.open_steps.values()) == [charge.name]
    finish(run)
    run.restart()
    check_replays(run)


def test_a_run_that_has_passed_the_line_keeps_to_the_old_way() -> None:
    run = patch_run(before_patch)
    run.complete("a")
    run.workflow = workflow(name="new")(after_patch)
    run.restart()
    assert list(run.log.open_steps.values()) == [b.name]
    run.complete("b")
    assert "patch_recorded" not in run.types
    run.restart()


def test_requests_of_the_same_drain_that_come_to_nothing_do_not_look_like_a_longer_log() -> None:
    async def body() -> Any:
        task = asyncio.create_task(a())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        kept = asyncio.create_task(a())
        await asyncio.sleep(0)
        if patched("p"):
            await b()
        await kept

    run = patch_run(body)
    assert run.types == ["step_created", "patch_recorded", "step_created"]
    finish(run)
    check_replays(run)


def test_a_patch_asked_between_decisions_of_one_drain_is_found_in_its_place() -> None:
    async def old() -> Any:
        await asyncio.gather(a(), b())

    async def new() -> Any:
        first = asyncio.create_task(a())
        await asyncio.sleep(0)
        flag = patched("p")
        await asyncio.gather(first, b())
        return flag

    run = patch_run(old)
    run.workflow = workflow(name="new")(new)
    run.restart()
    finish(run)
    assert run.output is False

    live = patch_run(new)
    finish(live)
    assert live.output is True
    check_replays(live)


def test_a_patch_may_be_retired_moved_within_its_drain_and_moved_to_a_later_one() -> None:
    async def first() -> Any:
        flag = patched("p")
        await a()
        await b()
        return flag

    async def retired() -> Any:
        await a()
        await b()
        return "retired"

    async def moved() -> Any:
        task = asyncio.create_task(a())
        await asyncio.sleep(0)
        flag = patched("p")
        await task
        await b()
        return flag

    async def later() -> Any:
        await a()
        flag = patched("p")
        await b()
        return flag

    async def retired_and_another() -> Any:
        flag = patched("q")
        await a()
        await b()
        return flag

    bodies: list[tuple[Body, Any]] = [(retired, "retired"), (moved, True), (later, True), (retired_and_another, False)]
    for body, output in bodies:
        run = patch_run(first)
        run.workflow = workflow(name=body.__name__)(body)
        run.restart()
        assert run.types == ["patch_recorded", "step_created"]
        run.complete("a")
        run.restart()
        run.complete("b")
        assert run.output == output
        assert run.types.count("patch_recorded") == 1


def test_a_new_patch_beside_a_retired_one_is_asked_live() -> None:
    async def first() -> Any:
        patched("p")
        await a()
        await b()

    async def second() -> Any:
        await a()
        flag = patched("q")
        await b()
        return flag

    run = patch_run(first)
    run.workflow = workflow(name="new")(second)
    run.restart()
    run.complete("a")
    run.restart()
    run.complete("b")
    assert run.output is True


@pytest.mark.parametrize("name", ["", "x" * 201, 5])
def test_a_patch_has_a_name(name: Any) -> None:
    @workflow
    async def body() -> Any:
        patched(name)

    assert Run(body).start().error["type"] in ("ValueError", "TypeError")


@dataclass
class Unwilling:
    """A class of a project that cannot be printed, and whose changed code refuses what the log holds."""

    size: int

    def __post_init__(self) -> None:
        if self.size > REFUSED:
            raise AttributeError("too large, since yesterday")

    def __repr__(self) -> str:
        raise AttributeError("no such attribute")


REFUSED = 100


@pytest.mark.parametrize("limit", [100, 1])
def test_a_value_that_cannot_be_printed_or_built_does_not_hide_the_divergence(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    @workflow(name="divergence.unwilling")
    async def body() -> Any:
        await a(Unwilling(5))

    run = Run(body).start()

    async def changed() -> Any:
        await b(Unwilling(1))

    body.fn = changed
    monkeypatch.setattr(f"{__name__}.REFUSED", limit)
    with pytest.raises(ReplayDivergenceError, match=r"step:a:1|steps\.a\(<unprintable Unwilling>\)") as raised:
        run.restart()
    assert raised.value.actual.endswith("steps.b(<unprintable Unwilling>)")
