from __future__ import annotations

import asyncio
from typing import Any

import pytest

from django_workflows.authoring.http import WebhookRequest, WebhookResponse
from django_workflows.authoring.primitives import Hook, create_hook, create_webhook, race, sleep
from django_workflows.authoring.workflows import workflow
from django_workflows.engine import ExecutionSettings
from django_workflows.engine.hooks import BodyHook
from django_workflows.eventlog import events
from django_workflows.exceptions import HookConflictError, HookNotFoundError, WorkflowSandboxError

from .steps import a, b
from .support import Run, check_replays


def test_payloads_are_read_first_in_first_out() -> None:
    @workflow
    async def body() -> Any:
        hook = create_hook("packed:1", metadata={"order": 1})
        assert (hook.token, hook.metadata) == ("packed:1", {"order": 1})
        return [await hook, await hook, await hook]

    run = Run(body).start()
    assert run.records[-1].payload == {"token": "packed:1", "is_webhook": False, "metadata": {"order": 1}}
    for n in range(3):
        run.receive("packed:1", n)
    assert run.output == [0, 1, 2]
    check_replays(run)


def test_payloads_that_are_not_awaited_yet_are_kept() -> None:
    @workflow
    async def body() -> Any:
        hook = create_hook("t")
        await a()
        return [await hook, await hook]

    run = Run(body).start()
    run.receive("t", 1)
    run.receive("t", 2)
    run.complete("a")
    assert run.output == [1, 2]
    check_replays(run)


def test_a_hook_is_registered_when_the_body_next_waits_not_at_sleep_zero() -> None:
    @workflow
    async def body() -> Any:
        create_hook("t")
        await asyncio.sleep(0)
        await a()

    run = Run(body).start()
    assert run.types == ["hook_created", "step_created"]


def test_a_hook_created_and_disposed_in_one_drain_never_appears() -> None:
    @workflow
    async def body() -> Any:
        with create_hook("t") as hook:
            pass
        assert await hook.get_conflict() is None
        return await a()

    run = Run(body).start()
    assert run.types == ["step_created"]


def test_iteration_ends_when_the_hook_is_disposed() -> None:
    @workflow
    async def body() -> Any:
        seen = []
        hook = create_hook("t")
        async for payload in hook:
            seen.append(payload)
            if payload == "last":
                hook.dispose()
                hook.dispose()
        return seen

    run = Run(body).start()
    run.receive("t", "first")
    run.receive("t", "last")
    assert run.output == ["first", "last"]
    assert ("hook_disposed", "hook:1") in run.decided
    check_replays(run)


def test_disposal_by_another_task_ends_iteration_and_fails_an_await() -> None:
    @workflow
    async def body() -> Any:
        hook = create_hook("t")

        async def iterate() -> Any:
            return [payload async for payload in hook]

        async def wait() -> Any:
            try:
                await hook
            except HookNotFoundError:
                return "gone"

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(iterate()), group.create_task(wait())]
            await a()
            hook.dispose()
        return [task.result() for task in tasks]

    run = Run(body).start()
    run.complete("a")
    assert run.output == [[], "gone"]
    check_replays(run)


def test_async_with_disposes_on_exit_and_frees_the_token() -> None:
    @workflow
    async def body() -> Any:
        async with create_hook("t") as first:
            await first
        async with create_hook("t") as second:
            return await second

    run = Run(body).start()
    run.receive("t", 1)
    run.receive("t", 2)
    assert run.output == 2
    assert [cid for kind, cid in run.decided if kind == "hook_disposed"] == ["hook:1", "hook:2"]
    check_replays(run)


def test_awaiting_a_conflicting_hook_raises_and_names_the_owner() -> None:
    @workflow
    async def body() -> Any:
        hook = create_hook("taken")
        try:
            await hook
        except HookConflictError as error:
            hook.dispose()
            return [error.token, error.owner, await hook.get_conflict()]

    run = Run(body)
    run.log.conflicts["taken"] = "wrun_other"
    run.start()
    assert run.output == ["taken", "wrun_other", "wrun_other"]
    assert run.types == ["hook_conflict", "run_completed"]
    check_replays(run)


def test_get_conflict_waits_for_the_registration() -> None:
    @workflow
    async def body() -> Any:
        free, own = create_hook("t"), create_hook("t")
        return [await free.get_conflict(), await own.get_conflict()]

    run = Run(body).start()
    assert run.output == [None, "wrun_test"]
    check_replays(run)


def test_a_token_can_be_used_again_at_once_even_while_the_first_registration_is_not_written_yet() -> None:
    @workflow
    async def body() -> Any:
        nap = asyncio.create_task(sleep(5))
        await a()
        with create_hook("t"):
            await nap
        with create_hook("t") as again:
            return await again

    run = Run(body).start()
    # Both arrivals are in the log before the first hook's registration is.
    run.log.complete_step("a")
    run.log.complete_wait("wait:1")
    run.advance()
    assert run.types[-3:] == ["hook_created", "hook_disposed", "hook_created"]
    run.receive("t", "fine")
    assert run.output == "fine"
    check_replays(run)


def test_a_hook_in_conflict_is_never_disposed_in_the_log() -> None:
    @workflow
    async def body() -> Any:
        nap = asyncio.create_task(sleep(5))
        await a()
        hook = create_hook("taken")
        await nap
        hook.dispose()
        return await b()

    run = Run(body)
    run.log.conflicts["taken"] = "wrun_other"
    run.start()
    run.log.complete_step("a")
    run.log.complete_wait("wait:1")
    run.advance()
    assert "hook_disposed" not in run.types
    run.complete("b", "done")
    assert run.output == "done"
    check_replays(run)


def test_a_reader_that_is_cancelled_after_its_wake_up_loses_no_payload() -> None:
    @workflow
    async def body() -> Any:
        hook = create_hook("t")
        readers = [asyncio.ensure_future(hook) for _ in range(2)]

        async def stop_the_first() -> None:
            await a()
            readers[0].cancel()

        stopper = asyncio.create_task(stop_the_first())
        done, pending = await asyncio.wait(readers, return_when=asyncio.FIRST_COMPLETED)
        stopper.cancel()
        for reader in pending:
            reader.cancel()
        if not any(not reader.cancelled() for reader in done):
            return await hook
        return [reader.result() for reader in done if not reader.cancelled()]

    run = Run(body).start()
    run.complete("a")
    run.receive("t", "kept")
    assert run.output == "kept"
    check_replays(run)


def test_a_wake_up_is_passed_on_when_its_reader_is_cancelled_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[Any] = []

    @workflow
    async def body() -> Any:
        hook = create_hook("t")
        first, second = asyncio.ensure_future(hook), asyncio.ensure_future(hook)
        readers.append(first)
        await asyncio.wait([second])
        return [second.result(), first.cancelled()]

    woken = BodyHook.received

    def received(self: BodyHook, payload: Any) -> None:
        woken(self, payload)
        readers[-1].cancel()  # between the wake-up and the reader's turn

    monkeypatch.setattr(BodyHook, "received", received)
    run = Run(body).start()
    run.receive("t", "kept")
    assert run.output == ["kept", True]


def test_racing_a_hook_against_a_sleep_repeatedly_keeps_no_dead_readers() -> None:
    @workflow
    async def body() -> Any:
        hook = create_hook("t")
        for _ in range(5):
            await race(hook, sleep(1))
        return len(hook._port._readers)  # type: ignore[attr-defined]

    run = Run(body).start()
    for _ in range(5):
        run.pass_time()
    assert run.output == 0


def test_payloads_after_disposal_are_dropped() -> None:
    @workflow
    async def body() -> Any:
        hook = create_hook("t")
        await a()
        hook.dispose()
        await b()
        try:
            await hook
        except HookNotFoundError:
            return "gone"

    run = Run(body).start()
    run.log.complete_step("a")
    run.log.receive("t", "too late")  # in the log before the disposal is
    run.advance()
    run.complete("b")
    assert run.output == "gone"
    check_replays(run)


def test_a_generated_token_is_secret_live_and_the_same_on_every_replay() -> None:
    @workflow
    async def body() -> Any:
        hook = create_hook()
        await a(hook.token)
        return [hook.token, await hook]

    first, second = Run(body).start(), Run(body).start()
    token = first.records[2].payload["token"]
    assert token != second.records[2].payload["token"]
    assert len(token) >= 32
    first.restart()
    first.complete("a")
    first.restart()
    first.receive(token, "in")
    assert first.output == [token, "in"]
    check_replays(first)


def test_a_hook_works_only_inside_its_own_body() -> None:
    kept: list[Hook] = []

    @workflow
    async def body() -> Any:
        if not kept:
            kept.append(create_hook("t"))
            await a()
        kept[0].dispose()

    Run(body).start()
    with pytest.raises(WorkflowSandboxError, match="resume_hook"):
        kept[0].dispose()
    with pytest.raises(WorkflowSandboxError):
        kept[0].get_conflict()
    other = Run(body)
    other.execution.runtime.run_id = "wrun_other"
    assert other.start().error["type"].endswith("WorkflowSandboxError")
    assert "t" not in repr(kept[0]).removeprefix("<Hook")


@pytest.mark.parametrize("token", ["", "a" * 256, "a b", "ü", "a/b"])
def test_a_token_that_fits_no_url_is_refused(token: str) -> None:
    @workflow
    async def body() -> Any:
        create_hook(token)

    assert Run(body).start().error["type"] == "ValueError"


class Payload:
    """Stands for a serializer class."""


def test_a_schema_is_stored_by_its_path() -> None:
    @workflow
    async def body() -> Any:
        hook = create_hook("t", schema=Payload)
        await hook

    run = Run(body)
    run.log.append(events.RunStarted(None, ""))
    run.execution.deliver(run.records[1])
    (command,) = run.execution.take()
    assert command.options == '{"schema":"tests.engine.test_hooks.Payload"}'


def test_a_schema_that_cannot_be_found_again_is_refused() -> None:
    class Local: ...

    @workflow
    async def by_local() -> Any:
        create_hook("t", schema=Local)

    @workflow
    async def by_instance() -> Any:
        create_hook("t", schema=Payload())

    assert Run(by_local).start().error["type"] == "ValueError"
    assert Run(by_instance).start().error["type"] == "TypeError"


# --- webhooks --------------------------------------------------------------------------------------------------------


def test_a_webhook_has_a_url_and_gets_requests() -> None:
    @workflow
    async def body() -> Any:
        webhook = create_webhook(token="w1", respond_with=WebhookResponse(200, "thanks"))
        await a(webhook.url)
        request = await webhook
        return [request.method, request.json()]

    run = Run(body).start()
    assert run.records[3].payload["args"] == ["https://shop.test/webhooks/w1/"]
    assert run.records[2].payload["is_webhook"] is True
    run.complete("a")
    run.receive("w1", WebhookRequest("post", body=b'{"id": 1}'))
    assert run.output == ["POST", {"id": 1}]
    check_replays(run)


def test_another_base_url_is_no_divergence() -> None:
    @workflow
    async def body() -> Any:
        webhook = create_webhook()
        await a({"callback": webhook.url})
        return await webhook

    run = Run(body).start()
    run.settings = ExecutionSettings(webhook_url=lambda token: f"http://moved.test:8000/w/{token}")
    run.restart()
    run.complete("a")
    run.receive(run.records[2].payload["token"], 1)
    assert run.output == 1


def test_a_webhook_is_answered_in_a_step_only() -> None:
    @workflow
    async def body() -> Any:
        request = await create_webhook(token="w", respond_with="manual")
        request.respond_with(WebhookResponse())

    run = Run(body).start()
    run.receive("w", WebhookRequest("POST"))
    assert "step" in run.error["message"]


def test_respond_with_takes_three_forms() -> None:
    @workflow
    async def body() -> Any:
        create_webhook(respond_with="later")

    assert Run(body).start().error["type"] == "ValueError"
