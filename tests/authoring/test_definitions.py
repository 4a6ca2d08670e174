from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from django_workflows.authoring import client as seam
from django_workflows.authoring import registry, runtime
from django_workflows.authoring.handles import RunHandle
from django_workflows.authoring.options import StartOptions
from django_workflows.authoring.runtime import Runtime
from django_workflows.authoring.steps import step
from django_workflows.authoring.workflows import workflow
from django_workflows.exceptions import WorkflowSandboxError
from django_workflows.values.retry import RetryPolicy


@pytest.fixture(autouse=True)
def _isolated() -> Iterator[None]:
    with registry.isolated(empty=True):
        yield


class RecordingClient:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def start(self, workflow: Any, options: StartOptions, args: Any, kwargs: Any) -> RunHandle[Any]:
        self.calls.append((workflow, options, args, kwargs))
        return RunHandle(f"wrun_{len(self.calls)}")

    async def astart(self, *given: Any) -> RunHandle[Any]:
        return self.start(*given)

    def start_many(self, workflow: Any, options: StartOptions, calls: Any) -> list[RunHandle[Any]]:
        return [self.start(workflow, options, *call) for call in calls]

    async def astart_many(self, *given: Any) -> list[RunHandle[Any]]:
        return self.start_many(*given)


@pytest.fixture
def client() -> Iterator[RecordingClient]:
    installed = RecordingClient()
    before = seam._client
    seam.install_client(installed)  # type: ignore[arg-type]
    yield installed
    seam.install_client(before)


class BodyRuntime(Runtime):
    in_body = True
    place = "in a workflow body"
    run_id = "wrun_test"

    def call_step(self, step: Any, args: Any, kwargs: Any) -> Any:
        return ("step", step, args, kwargs)

    def start_child(self, workflow: Any, options: Any, args: Any, kwargs: Any) -> Any:
        return ("child", workflow, options, args, kwargs)


class StepRuntime(Runtime):
    place = "in a step"
    run_id = "wrun_test"


@pytest.fixture
def in_body() -> Iterator[None]:
    token = runtime.RUNTIME.set(BodyRuntime())
    yield
    runtime.RUNTIME.reset(token)


@pytest.fixture
def in_step() -> Iterator[None]:
    token = runtime.RUNTIME.set(StepRuntime())
    yield
    runtime.RUNTIME.reset(token)


# --- steps -----------------------------------------------------------------------------------------------------------


def test_a_bare_step_has_the_default_options() -> None:
    @step
    def pay(order: int) -> str:
        """Charge it."""
        return f"paid {order}"

    assert pay.name == f"{__name__}.test_a_bare_step_has_the_default_options.<locals>.pay"
    assert pay.policy == RetryPolicy(max_retries=3, retry_delay=1.0, backoff=2.0, max_retry_delay=300, jitter=False)
    assert (pay.timeout, pay.atomic, pay.using, pay.queue, pay.is_async) == (None, False, None, None, False)
    assert pay.__doc__ == "Charge it."
    assert repr(pay) == f"<step {pay.name}>"
    assert copy.copy(pay) is copy.deepcopy([pay])[0] is pay


def test_options_of_a_step() -> None:
    @step(name="pay", max_retries=5, retry_delay="2s", backoff=3, max_retry_delay=timedelta(minutes=1), jitter=True,
          timeout=30, atomic=True, using="other", queue="slow")  # fmt: skip
    def pay() -> None: ...

    assert pay.name == "pay"
    assert pay.policy == RetryPolicy(5, 2.0, 3, 60, True)
    assert (pay.timeout, pay.atomic, pay.using, pay.queue) == (timedelta(seconds=30), True, "other", "slow")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"name": ""}, ValueError),
        ({"name": 5}, TypeError),
        ({"name": "x" * 256}, ValueError),
        ({"name": "line\nbreak"}, ValueError),
        ({"max_retries": -1}, ValueError),
        ({"retry_delay": -1}, ValueError),
        ({"backoff": 0.5}, ValueError),
        ({"timeout": 0}, ValueError),
        ({"timeout": "soon"}, ValueError),
        ({"timeout": object()}, TypeError),
        ({"queue": ""}, ValueError),
        ({"queue": "x" * 101}, ValueError),
        ({"using": "other"}, TypeError),
    ],
)
def test_malformed_options_of_a_step_are_refused_at_the_definition(options: dict[str, Any], error: type) -> None:
    with pytest.raises(error):

        @step(**options)
        def pay() -> None: ...

    assert not registry.step_names()


def test_an_atomic_step_cannot_be_async() -> None:
    with pytest.raises(TypeError, match="plain def"):

        @step(atomic=True)
        async def pay() -> None: ...


def test_steps_are_functions_with_a_name() -> None:
    for wrong in (5, int, (n for n in ()), object()):
        with pytest.raises(TypeError):
            step(wrong)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="generator"):

        @step
        def numbers() -> Any:
            yield 1

    with pytest.raises(TypeError, match="generator"):

        @step
        async def more() -> Any:
            yield 1

    with pytest.raises(TypeError, match="name="):
        step(lambda: None)
    with pytest.raises(TypeError, match="name="):
        step(partial(print, 1))
    assert step(name="shown")(partial(str, 1)).call() == "1"
    assert step(name="later")(lambda x: x).call(3) == 3


def test_a_static_method_is_decorated_inside() -> None:
    with pytest.raises(TypeError, match="below @staticmethod"):

        class Wrong:
            @step
            @staticmethod
            def pay() -> None: ...

    class Right:
        @staticmethod
        @step
        def pay(order: int) -> int:
            return order

    assert Right.pay(1) == Right().pay(1) == 1  # type: ignore[comparison-overlap]


def test_outside_bodies_a_step_is_the_undecorated_function(in_step: None) -> None:
    @step
    def double(x: int) -> int:
        return 2 * x

    @step
    async def adouble(x: int) -> int:
        return 2 * x

    assert double(2) == 4  # type: ignore[comparison-overlap]
    assert asyncio.run(adouble(2)) == 4
    assert double.call(3) == 6
    with pytest.raises(TypeError, match="acall"):
        adouble.call(1)


def test_acall_runs_a_def_function_on_a_thread() -> None:
    @step
    def where() -> int:
        return threading.get_ident()

    @step
    async def here() -> int:
        return threading.get_ident()

    async def main() -> tuple[int, int]:
        return await where.acall(), await here.acall()

    elsewhere, same = asyncio.run(main())
    assert elsewhere != same == threading.get_ident()


def test_in_a_body_a_call_is_a_request_whose_arity_is_checked(in_body: None) -> None:
    @step
    def pay(order: int, *, note: str = "") -> None: ...

    assert pay(1, note="x") == ("step", pay, (1,), {"note": "x"})  # type: ignore[comparison-overlap]
    for wrong in (lambda: pay(), lambda: pay(1, 2), lambda: pay(1, other=2), lambda: pay(1, order=1)):  # type: ignore[call-arg,misc]
        with pytest.raises(TypeError, match="pay\\(\\)"):
            wrong()
    with pytest.raises(WorkflowSandboxError, match="await"):
        pay.call(1)
    with pytest.raises(WorkflowSandboxError, match="await"):
        asyncio.run(pay.acall(1))


@pytest.mark.parametrize(
    ("signature", "fits", "fails"),
    [
        ("()", [((), {})], [((1,), {}), ((), {"x": 1})]),
        ("(x)", [((1,), {}), ((), {"x": 1})], [((), {}), ((1, 2), {}), ((1,), {"x": 1})]),
        ("(x, y=0)", [((1,), {}), ((1, 2), {}), ((1,), {"y": 1})], [((), {}), ((1, 2, 3), {})]),
        ("(x, /)", [((1,), {})], [((), {"x": 1}), ((), {})]),
        ("(*, k)", [((), {"k": 1})], [((), {}), ((1,), {})]),
        ("(*, k=1)", [((), {}), ((), {"k": 1})], [((1,), {})]),
        ("(*args, **kwargs)", [((), {}), ((1, 2, 3), {"z": 1})], []),
        ("(x, *rest)", [((1,), {}), ((1, 2), {})], [((), {})]),
    ],
)
def test_arguments_are_checked_as_python_would(signature: str, fits: Any, fails: Any) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def function{signature}: ...", namespace)
    definition = step(name=signature)(namespace["function"])
    for args, kwargs in fits:
        definition.check_arguments(args, kwargs)
    for args, kwargs in fails:
        with pytest.raises(TypeError):
            definition.check_arguments(args, kwargs)


# --- workflows -------------------------------------------------------------------------------------------------------


def test_a_bare_workflow_has_the_default_options() -> None:
    @workflow
    async def order(pk: int) -> None:
        """Fulfil it."""

    assert order.name.endswith(".order")
    assert (order.queue, order.timeout, order.retention, order.api) == ("default", None, None, False)
    assert list(order.signature.parameters) == ["pk"]
    assert order.__doc__ == "Fulfil it."
    assert repr(order) == f"<workflow {order.name}>"
    assert copy.deepcopy(order) is order


def test_options_of_a_workflow() -> None:
    @workflow(name="order", queue="slow", timeout="2h", retention=timedelta(days=30), api=True)
    async def order() -> None: ...

    assert (order.name, order.queue, order.timeout) == ("order", "slow", timedelta(hours=2))
    assert (order.retention, order.api) == (timedelta(days=30), True)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"retention": -1}, {"queue": ""}, {"name": ""}])
def test_malformed_options_of_a_workflow_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):

        @workflow(**options)
        async def order() -> None: ...


def test_without_greenlet_a_workflow_is_an_async_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_workflows.authoring.workflows.find_spec", lambda name: None)
    with pytest.raises(TypeError, match="async def"):

        @workflow  # type: ignore[arg-type]
        def order() -> None: ...


def test_a_generator_is_no_workflow() -> None:
    with pytest.raises(TypeError, match="generator"):

        @workflow  # type: ignore[arg-type]
        async def stream() -> Any:
            yield 1


def test_calling_a_workflow_outside_of_a_body_says_what_to_do() -> None:
    @workflow(name="order")
    async def order() -> str:
        return "done"

    with pytest.raises(TypeError, match=r"order\.start\(\.\.\.\)"):
        order()
    assert asyncio.run(order.fn()) == "done"


def test_calling_a_workflow_in_a_body_gives_its_coroutine(in_body: None) -> None:
    @workflow
    async def order(x: int) -> int:
        return x

    assert asyncio.run(order(5)) == 5


def test_start_asks_the_client(client: RecordingClient) -> None:
    @workflow
    async def order(pk: int, *, fast: bool = False) -> None: ...

    assert order.start(1, fast=True) == RunHandle("wrun_1")
    assert asyncio.run(_await(order.astart(2))) == RunHandle("wrun_2")
    assert order.start_many([((3,), {}), ([4], {"fast": True})]) == [RunHandle("wrun_3"), RunHandle("wrun_4")]
    assert asyncio.run(_await(order.astart_many([]))) == []
    assert client.calls == [
        (order, StartOptions(), (1,), {"fast": True}),
        (order, StartOptions(), (2,), {}),
        (order, StartOptions(), (3,), {}),
        (order, StartOptions(), (4,), {"fast": True}),
    ]


async def _await(awaitable: Any) -> Any:
    return await awaitable


def test_arguments_that_do_not_fit_are_refused_before_anything_is_written(client: RecordingClient) -> None:
    @workflow
    async def order(pk: int) -> None: ...

    for wrong in (
        lambda: order.start(),  # type: ignore[call-arg]
        lambda: order.astart(1, 2),  # type: ignore[call-arg]
        lambda: order.start_many([((1,), {}), ((), {})]),
        lambda: order.start_many([1]),  # type: ignore[list-item]
        lambda: order.using(queue="q").start(x=1),  # type: ignore[call-arg]
    ):
        with pytest.raises(TypeError):
            wrong()
    assert client.calls == []


def test_using_sets_options_and_can_be_chained(client: RecordingClient) -> None:
    @workflow
    async def order() -> None: ...

    bound = order.using(queue="slow", attributes={"customer": "c1"}).using(priority=5, attributes={"amount": 3})
    bound.start()
    expected = StartOptions(queue="slow", priority=5, attributes={"customer": "c1", "amount": "3"})
    assert client.calls == [(order, expected, (), {})]
    assert "slow" in repr(bound)


def test_start_without_a_client_says_what_is_missing() -> None:
    @workflow
    async def order() -> None: ...

    before = seam._client
    seam.install_client(None)
    try:
        with pytest.raises(RuntimeError, match="INSTALLED_APPS"):
            order.start()
    finally:
        seam.install_client(before)


def test_in_a_body_start_points_to_astart_and_astart_starts_a_child(in_body: None, client: RecordingClient) -> None:
    @workflow(name="order")
    async def order(pk: int) -> None: ...

    for blocking in (lambda: order.start(1), lambda: order.start_many([]), lambda: order.using(queue="q").start(1)):
        with pytest.raises(WorkflowSandboxError, match=r"await order\.astart"):
            blocking()
    child = order.using(queue="slow").astart(1)
    assert child == ("child", order, StartOptions(queue="slow"), (1,), {})  # type: ignore[comparison-overlap]
    assert client.calls == []


def test_in_a_step_start_works_as_anywhere(in_step: None, client: RecordingClient) -> None:
    @workflow
    async def order() -> None: ...

    assert order.start() == RunHandle("wrun_1")


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"idempotency_key": ""}, ValueError, "1 to 255"),
        ({"idempotency_key": 5}, TypeError, "str"),
        ({"queue": "x" * 101}, ValueError, "100"),
        ({"queue": "a\x00"}, ValueError, "NUL"),
        ({"priority": "high"}, TypeError, "number"),
        ({"priority": True}, TypeError, "number"),
        ({"priority": 2**40}, ValueError, "32 bits"),
        ({"run_after": -1}, ValueError, "run_after"),
        ({"run_after": "later"}, ValueError, "run_after"),
        ({"timeout": 0}, ValueError, "longer than zero"),
        ({"timeout": object()}, TypeError, "timeout"),
        ({"attributes": {"a": object()}}, TypeError, "'a'"),
        ({"attributes": {"a" * 65: 1}}, ValueError, "64"),
        ({"attributes": {"a": "ü" * 129}}, ValueError, "256"),
        ({"attributes": {"a": "x\x00"}}, ValueError, "NUL"),
        ({"attributes": {"a\x00": 1}}, ValueError, "NUL"),
        ({"idempotency_key": "\ud800"}, ValueError, "surrogate"),
        ({"attributes": {str(n): n for n in range(65)}}, ValueError, "64"),
        ({"detached": 1}, TypeError, "detached"),
        ({"colour": "red"}, TypeError, "no option 'colour'"),
    ],
)
def test_malformed_start_options_are_refused_early(options: dict[str, Any], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        StartOptions().merge(**options)


def test_options_keep_what_was_given() -> None:
    options = StartOptions().merge(run_after="1h", timeout=timedelta(hours=2), attributes={"a": True, "b": None})
    assert options.given() == {"run_after": "1h", "timeout": timedelta(hours=2), "attributes": {"a": "True"}}
