"""How bodies end: values, errors, cancels, deadlines; and what may still come after."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from django_workflows.authoring.primitives import continue_as_new, create_hook, race, set_attributes, sleep
from django_workflows.authoring.workflows import workflow
from django_workflows.engine import Execution, ExecutionSettings
from django_workflows.eventlog import events
from django_workflows.eventlog.commands import ContinueAsNew
from django_workflows.exceptions import (
    CorruptedEventLogError,
    FatalError,
    HookNotFoundError,
    ReplayDivergenceError,
    RetryableError,
    StepFailedError,
    WorkflowError,
)

from .steps import a, b, c
from .support import Run, check_replays, deliver, finish


class CardDeclined(FatalError):
    pass


class Odd(WorkflowError):
    pass


# --- values and errors -----------------------------------------------------------------------------------------------


def test_the_return_value_is_the_output() -> None:
    @workflow
    async def body(price: Decimal) -> Any:
        return {"price": price, "tax": {1, 2}}

    run = Run(body, Decimal("9.90")).start()
    assert run.output == {"price": Decimal("9.90"), "tax": {1, 2}}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("x"), "user_error"),
        (FatalError("x"), "fatal"),
        (CardDeclined("x"), "fatal"),
        (RetryableError("x"), "retryable"),
        (HookNotFoundError("x"), "hook_not_found"),
        (StepFailedError("s", "t", "m"), "step_failed"),
        (Odd("x"), "user_error"),
        (SystemExit(3), "user_error"),
        (KeyboardInterrupt(), "user_error"),
        (GeneratorExit(), "user_error"),
        (MemoryError(), "user_error"),
        (asyncio.CancelledError("own"), "user_error"),
    ],
)
def test_an_error_that_escapes_the_body_fails_the_run(error: BaseException, code: str) -> None:
    @workflow
    async def body() -> Any:
        raise error

    run = Run(body).start()
    assert run.end.type == "run_failed"
    assert run.end.payload["error_code"] == code
    assert run.error["type"].endswith(type(error).__name__)
    assert "in body" in run.error["traceback"] or isinstance(error, asyncio.CancelledError)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_exit_raised_in_a_task_ends_the_run_even_if_the_task_is_not_awaited(error: BaseException) -> None:
    @workflow
    async def body() -> Any:
        async def leave() -> None:
            await a()
            raise error

        task = asyncio.create_task(leave())
        await b()
        return task

    run = Run(body).start()
    run.complete("a")
    assert run.error["type"] == type(error).__name__
    check_replays(run)


def test_endless_recursion_fails_the_run() -> None:
    @workflow
    async def body() -> Any:
        def deeper(n: int) -> int:
            return deeper(n + 1)

        return deeper(0)

    assert Run(body).start().error["type"] == "RecursionError"


def test_an_output_that_cannot_be_encoded_fails_the_run() -> None:
    @workflow
    async def body() -> Any:
        return {"thing": object()}

    run = Run(body).start()
    assert run.end.payload["error_code"] == "serialization"
    assert "thing" in run.error["message"]


def test_arguments_that_cannot_be_encoded_raise_in_the_body() -> None:
    @workflow
    async def body() -> Any:
        await a([{"items": object()}])

    run = Run(body).start()
    assert run.end.payload["error_code"] == "serialization"
    assert "args[0][0].items" in run.error["message"]


def test_wrong_arity_raises_at_the_call() -> None:
    from .steps import charge

    @workflow
    async def body() -> Any:
        try:
            charge(1, 2, 3)  # type: ignore[call-arg]
        except TypeError as error:
            return str(error)

    assert Run(body).start().output == f"{charge.name}() too many positional arguments"


def test_the_steps_own_exception_is_raised_again_each_time() -> None:
    @workflow
    async def body() -> Any:
        caught = []
        for _ in range(2):
            try:
                await a()
            except CardDeclined as error:
                caught.append(error)
        assert caught[0] is not caught[1]
        return [caught[0].args, caught[0].__notes__[0].splitlines()[0], repr(caught[0].__cause__)]

    cause = KeyError("account")
    error = CardDeclined("no funds", 41)
    error.__cause__ = cause
    run = Run(body).start()
    run.fail("a", error)
    run.fail("a", error)
    assert run.output == [("no funds", 41), f"In step {a.name}:", "KeyError('account')"]
    check_replays(run)


@pytest.mark.parametrize("error", [StopIteration(1), StopAsyncIteration(), SystemExit(2), asyncio.CancelledError()])
def test_an_exception_that_cannot_be_rebuilt_is_a_step_failed_error(error: BaseException) -> None:
    @workflow
    async def body() -> Any:
        try:
            await a()
        except StepFailedError as failed:
            return [failed.step_name, failed.error_type]

    run = Run(body).start()
    run.fail("a", error)
    assert run.output[0] == a.name
    assert run.output[1].endswith(type(error).__name__)


# --- the last drain --------------------------------------------------------------------------------------------------


def test_what_the_last_drain_requests_is_recorded_only_if_it_still_means_something() -> None:
    @workflow
    async def body() -> Any:
        early = create_hook("early")
        await a()
        left = [asyncio.create_task(b()), asyncio.create_task(sleep(9))]
        create_hook("late")
        await asyncio.sleep(0)
        assert left
        set_attributes(status="done")
        early.dispose()
        return "end"

    run = Run(body).start()
    run.complete("a")
    assert run.types[3:] == ["attributes_set", "hook_disposed", "run_completed"]
    check_replays(run)


def test_a_cancel_of_the_last_drain_is_not_missed_when_the_step_has_ended_meanwhile() -> None:
    @workflow
    async def body() -> Any:
        return await race(a(), b())

    run = Run(body).start()
    run.log.complete_step("a", "a")
    run.log.complete_step("b", "b")  # in the log before the end of the body, which cancels it, can be
    run.advance()
    assert run.types == ["step_created", "step_created", "step_completed", "step_completed", "run_completed"]
    check_replays(run)


def test_a_disposal_of_the_last_drain_is_not_missed_when_the_token_was_lost_meanwhile() -> None:
    @workflow
    async def body() -> Any:
        nap = asyncio.create_task(sleep(5))
        await a()
        hook = create_hook("taken")
        await nap
        hook.dispose()

    run = Run(body)
    run.log.conflicts["taken"] = "wrun_other"
    run.start()
    run.log.complete_step("a")
    run.log.complete_wait()
    run.advance()
    assert run.types[-2:] == ["hook_conflict", "run_completed"]
    check_replays(run)


def test_after_the_end_running_steps_may_report_and_nothing_else_may_be_decided() -> None:
    @workflow
    async def body() -> Any:
        task = asyncio.create_task(a())
        await b()
        return task.done()

    run = Run(body).start()
    run.complete("b")
    run.complete("a")
    assert run.types[-2:] == ["run_completed", "step_completed"]
    assert not run.execution.take()
    run.log.append(events.StepCreated("x", [], {}, "default"), "step:x:1")
    with pytest.raises(CorruptedEventLogError):
        run.advance()


def test_continue_as_new_in_a_task_group_continues() -> None:
    """A group wraps what its tasks raise; what is inside still means that the run goes on as a new one."""

    @workflow(name="tests.ends.grouped")
    async def body(n: int = 0) -> int:
        async def watch() -> None:
            await sleep(5)
            async with asyncio.TaskGroup() as inner:
                inner.create_task(hand_over())

        async def hand_over() -> None:
            continue_as_new(n + 1)

        async with asyncio.TaskGroup() as group:
            group.create_task(watch())
        return n

    run = Run(body).start()
    run.pass_time()
    assert run.output == {"continued_as": "wrun_next"}
    check_replays(run)


def test_continue_as_new_hands_over_and_no_except_exception_stops_it() -> None:
    @workflow
    async def body(n: int) -> Any:
        await a()
        try:
            continue_as_new(n + 1)
        except Exception:
            return "caught"

    run = Run(body, 1).start()
    run.log.complete_step("a")
    run.execution.deliver(run.records[-1])
    (command,) = run.execution.take()
    assert isinstance(command, ContinueAsNew)
    assert command.input == '{"args":[2],"kwargs":{}}'
    deliver(run.execution, run.log.write([command]))
    check_replays(run)


# --- cancel and deadline ---------------------------------------------------------------------------------------------


def test_a_cancel_is_raised_once_at_the_suspension_point_and_cleanup_may_run_steps() -> None:
    @workflow
    async def body() -> Any:
        try:
            await a()
        except asyncio.CancelledError as error:
            await b(*error.args)
            raise

    run = Run(body).start()
    run.cancel("changed my mind")
    assert run.types[-2:] == ["step_cancelled", "step_created"]
    assert run.records[-1].payload["args"] == ["changed my mind"]
    run.cancel("again")
    assert not run.log.ended
    run.complete("b")
    assert run.end.type == "run_cancelled"
    assert run.error["type"].endswith("CancelledError")
    check_replays(run)


def test_a_body_that_swallows_the_cancel_ends_cancelled_with_its_value_kept() -> None:
    @workflow
    async def body() -> Any:
        try:
            await sleep("1d")
        except asyncio.CancelledError:
            pass
        return "kept"

    run = Run(body).start()
    run.cancel()
    assert run.end.type == "run_cancelled"
    assert run.end.payload["output"] == "kept"
    check_replays(run)


def test_a_cancel_reaches_a_task_group_and_its_steps() -> None:
    @workflow
    async def body() -> Any:
        async with asyncio.TaskGroup() as group:
            group.create_task(a())
            group.create_task(b())

    run = Run(body).start()
    run.cancel()
    assert run.end.type == "run_cancelled"
    check_replays(run)


def test_a_deadline_gives_the_same_cleanup_and_the_run_fails() -> None:
    @workflow
    async def body() -> Any:
        try:
            await a()
        finally:
            await b()

    run = Run(body).start()
    run.time_out()
    run.complete("b")
    assert run.end.payload["error_code"] == "run_timeout"
    check_replays(run)


def test_a_run_ended_after_its_grace_period_replays_although_its_body_continues() -> None:
    @workflow
    async def body() -> Any:
        try:
            await a()
        except asyncio.CancelledError:
            await b()
            await c()

    run = Run(body).start()
    run.cancel()
    run.log._end(None, None, "")
    run.advance()
    assert run.execution.finished
    assert not run.execution.take()
    check_replays(run)


def test_a_forced_cancel_ends_the_run_without_asking_the_body() -> None:
    @workflow
    async def body() -> Any:
        await a()

    run = Run(body).start()
    run.log.cancel(force=True)
    run.log._end(None, None, "")
    run.advance()
    assert run.execution.finished
    assert run.types == ["step_created", "run_cancel_requested", "run_cancelled"]
    check_replays(run)


def test_an_end_that_the_services_impose_is_no_divergence() -> None:
    @workflow
    async def body() -> Any:
        await a()
        await b()

    run = Run(body).start()
    run.log.complete_step("a")
    from django_workflows.serialization import encode_error

    run.log.append(events.RunFailed(encode_error(OverflowError()), "max_events_exceeded"))
    run.restart()
    assert run.execution.finished
    assert not run.execution.take()


# --- limits ----------------------------------------------------------------------------------------------------------


def small(maximum: int) -> ExecutionSettings:
    return ExecutionSettings(max_payload_bytes=maximum)


def test_a_payload_too_large_fails_the_run_in_place_of_the_decision() -> None:
    @workflow
    async def body() -> Any:
        await asyncio.gather(a(1), b("x" * 1000), c(2))

    run = Run(body, settings=small(200)).start()
    assert run.types == ["step_created", "run_failed"]
    assert run.end.payload["error_code"] == "payload_too_large"
    assert "step:b:1" in run.error["traceback"]
    run.restart()  # the log's end fits what the body decides
    run.settings = small(10_000)
    run.restart()  # also after the limit was raised


def test_an_output_too_large_fails_the_run() -> None:
    @workflow
    async def body() -> Any:
        return "x" * 1000

    assert Run(body, settings=small(200)).start().end.payload["error_code"] == "payload_too_large"


def test_a_lower_limit_changes_nothing_for_what_is_in_the_log_already() -> None:
    @workflow
    async def body() -> Any:
        await a("x" * 1000)
        return await b()

    run = Run(body).start()
    run.settings = small(200)
    run.restart()
    run.complete("a")
    run.complete("b", 1)
    assert run.output == 1


# --- what a body cannot read -----------------------------------------------------------------------------------------


def test_arguments_that_do_not_fit_the_function_any_more_park_the_run() -> None:
    @workflow(name="w")
    async def old(x: int) -> Any:
        await a()

    run = Run(old, 1).start()

    @workflow(name="w2")
    async def new(x: int, y: int) -> Any:
        await a()

    execution = Execution(new, run.records[0], run_id="wrun_test")
    with pytest.raises(ReplayDivergenceError, match="missing a required argument: 'y'"):
        execution.replay(run.records)


def test_a_result_that_this_code_cannot_read_parks_the_run() -> None:
    @workflow
    async def body() -> Any:
        try:
            await a()
        except Exception:
            return "must not decide"

    run = Run(body).start()
    run.log.complete_step("a", 0)
    unreadable = run.records[-1]
    data = '{"attempt":1,"output":{"$":"enum","c":"shop.gone:Colour","v":"RED"}}'
    run.records[-1] = events.Record(
        unreadable.sequence, unreadable.type, unreadable.correlation_id, data, unreadable.created_at
    )
    with pytest.raises(ReplayDivergenceError, match=r"shop\.gone"):
        run.advance()


def test_a_gap_in_the_log_is_corruption() -> None:
    @workflow
    async def body() -> Any:
        await a()

    run = Run(body).start()
    late = run.log.append(events.StepStarted(1, None), "step:a:1")
    last = run.log.complete_step("a")
    assert late.sequence + 1 == last.sequence
    with pytest.raises(CorruptedEventLogError, match="continues with event 5 after event 3"):
        run.execution.deliver(last)
    with pytest.raises(CorruptedEventLogError):
        run.new_execution().replay([*run.records[:2], last])


def test_a_closed_execution_takes_nothing_more() -> None:
    @workflow
    async def body() -> Any:
        await a()

    run = Run(body).start()
    run.log.complete_step("a")
    run.execution.close()
    run.execution.close()
    with pytest.raises(RuntimeError, match="closed"):
        run.advance()


def test_metadata_of_the_workflow() -> None:
    from django_workflows.authoring.primitives import get_workflow_metadata

    @workflow
    async def body() -> Any:
        before = get_workflow_metadata()
        set_attributes(customer="c2", amount=Decimal("1.50"), gone=None)
        after = get_workflow_metadata()
        await a()
        return [before.run_id, before.workflow_name, before.started_at, before.attributes, after.attributes]

    run = finish(Run(body, attributes={"customer": "c1", "gone": "x"}))
    started = run.records[1].created_at
    assert run.output == [
        "wrun_test",
        body.name,
        started,
        {"customer": "c1", "gone": "x"},
        {"customer": "c2", "amount": "1.50"},
    ]
    assert started - run.records[0].created_at == timedelta(milliseconds=1)
    check_replays(run)
