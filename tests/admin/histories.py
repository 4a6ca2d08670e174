"""Runs with a past, written through the service layer with a clock that is moved: what the pages show."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import transaction

from django_workflows.models import Run, Worker
from django_workflows.serialization import Encoded, dumps
from django_workflows.services import attributes, creation, hooks, outbox, runs, steps, waits
from django_workflows.services.creation import NewRun
from django_workflows.store import locking
from django_workflows.store.transition import Transition
from django_workflows.store.write import write
from django_workflows.values import clock


class CardDeclinedError(Exception):
    """The bank says no."""


_TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/workflows.py", line 41, in charge_card
    return bank.charge(order.card, order.total, idempotency_key=get_step_metadata().step_id)
  File "/srv/shop/bank.py", line 88, in charge
    raise {name}({message!r})
{name}: {message}
"""


def error(exc: BaseException) -> Encoded:
    """``exc`` as it is recorded, with the traceback that it would have in a project."""
    module = type(exc).__module__
    name = type(exc).__name__ if module == "builtins" else f"shop.bank.{type(exc).__name__}"
    told = {"type": name, "message": str(exc), "args": list(exc.args), "cause": None}
    return dumps({**told, "traceback": _TRACEBACK.format(name=name, message=str(exc))})


def worker(hostname: str = "web-1", pid: int = 4242, **columns: Any) -> Worker:
    now = clock.now()
    given = {"concurrency": 16, "code_version": "a1b2c3", "started_at": now - timedelta(hours=7), "heartbeat_at": now}
    return Worker.objects.create(id=f"wrkr_{secrets.token_hex(8)}", hostname=hostname, pid=pid, **{**given, **columns})


class Story:
    """One run, written in order. Each verb happens ``after`` so many seconds since the one before."""

    def __init__(self, workflow: str, *args: Any, worker: Worker | None = None, **options: Any) -> None:
        data = dumps({"args": list(args), "kwargs": options.pop("kwargs", {})})
        new = NewRun(workflow=workflow, input=data, queue=options.pop("queue", "default"), **options)
        (self.id,) = creation.create_runs([new])
        self.worker = worker.pk if worker is not None else None

    @property
    def run(self) -> Run:
        return Run.objects.get(pk=self.id)

    @contextmanager
    def _transition(self, after: float, *, idle: bool = False) -> Iterator[Transition]:
        clock.advance(timedelta(seconds=after))
        with transaction.atomic():
            transition = locking.lock_whole_run(self.id)
            yield transition
            runs.set_wake(transition, undelivered=False)
            if idle:
                transition.run.wake_at = None
            write([transition])

    def start(self, after: float = 0.05) -> Story:
        with self._transition(after) as transition:
            runs.start_run(transition, self.worker, "a1b2c3")
        return self

    def create(self, cid: str, name: str, *args: Any, after: float = 0.0) -> Story:
        with self._transition(after) as transition:
            steps.create_step(transition, cid, name, dumps({"args": list(args), "kwargs": {}}), transition.run.queue)
        return self

    def begin(self, cid: str, after: float = 0.002, worker: Worker | None = None) -> Story:
        with self._transition(after) as transition:
            steps.start_step(transition, transition.entities.steps[cid], worker.pk if worker else self.worker)
        return self

    def complete(self, cid: str, output: Any = None, *, after: float = 0.1) -> Story:
        with self._transition(after) as transition:
            steps.complete_step(transition, transition.entities.steps[cid], dumps(output))
        return self

    def retry(self, cid: str, exc: BaseException, delay: float, *, after: float = 0.1) -> Story:
        with self._transition(after) as transition:
            retry_at = transition.now + timedelta(seconds=delay)
            steps.retry_step(transition, transition.entities.steps[cid], error(exc), retry_at)
        return self

    def lose(self, cid: str, *, after: float = 0.1) -> Story:
        with self._transition(after) as transition:
            steps.lose_step(transition, transition.entities.steps[cid])
        return self

    def fail_step(self, cid: str, exc: BaseException, *, after: float = 0.1) -> Story:
        with self._transition(after) as transition:
            steps.fail_step(transition, transition.entities.steps[cid], error(exc))
        return self

    def step(self, cid: str, name: str, *args: Any, took: float = 0.1, output: Any = None) -> Story:
        return self.create(cid, name, *args).begin(cid).complete(cid, output, after=took)

    def hook(self, cid: str, token: str, *, webhook: bool = False, after: float = 0.001, **options: Any) -> Story:
        with self._transition(after) as transition:
            data = dumps(options)
            hooks.create_hook(transition, cid, token, is_webhook=webhook, metadata=dumps(None), options=data)
        return self

    def deliver(self, token: str, payload: Any, *, after: float = 1.0) -> Story:
        with self._transition(after) as transition:
            hooks.receive_hook(transition, token, dumps(payload))
        return self

    def sleep(self, cid: str, seconds: float, *, after: float = 0.001) -> Story:
        with self._transition(after) as transition:
            waits.create_wait(transition, cid, transition.now + timedelta(seconds=seconds))
        return self

    def wake(self, cid: str, *, after: float, woken: bool = False) -> Story:
        with self._transition(after) as transition:
            waits.complete_wait(transition, transition.entities.waits[cid], woken=woken)
        return self

    def cancel_wait(self, cid: str, *, after: float = 0.0) -> Story:
        with self._transition(after) as transition:
            waits.cancel_wait(transition, cid)
        return self

    def set(self, *, after: float = 0.0, **values: str) -> Story:
        with self._transition(after) as transition:
            attributes.set_attributes(transition, dict(values), "attributes:1")
        return self

    def cancel(self, reason: str, *, force: bool = False, after: float = 0.1) -> Story:
        with self._transition(after) as transition:
            runs.request_cancel(transition, reason, force=force)
        return self

    def block(self, reason: str, *, after: float = 0.1) -> Story:
        clock.advance(timedelta(seconds=after))
        with transaction.atomic():
            transition = locking.lock_whole_run(self.id)
            runs.block_run(transition, reason, "a1b2c3")
            write([transition])
        return self

    def end(self, output: Any = None, *, after: float = 0.002) -> Story:
        from django_workflows.eventlog.commands import CompleteRun

        with self._transition(after) as transition:
            runs.end_run(transition, CompleteRun("", output=dumps(output)))
        return self

    def fail(self, exc: BaseException, *, after: float = 0.002) -> Story:
        with self._transition(after) as transition:
            runs.fail_run(transition, error(exc), "user_error")
        return self


@contextmanager
def ago(**span: float) -> Iterator[None]:
    """What is written inside begins so long ago; the clock is restored afterwards."""
    before = clock.offset()
    clock.advance(-timedelta(**span))
    try:
        yield
    finally:
        clock.advance(before - clock.offset())


def child(parent: Story, cid: str, workflow: str, *args: Any, after: float = 0.002) -> Story:
    """A child run of ``parent``, as its body would start it."""
    from django_workflows.eventlog.commands import StartChild
    from django_workflows.services.children import start_child
    from django_workflows.values.ids import run_id

    told = Story.__new__(Story)
    told.id, told.worker = run_id(), parent.worker
    with parent._transition(after) as transition:
        data = dumps({"args": list(args), "kwargs": {}})
        start_child(transition, StartChild(cid, workflow=workflow, child=told.id, input=data, options={}))
    return told


def deliver_news() -> None:
    """Deliver the outbox: parents learn how their children ended."""
    while outbox.flush_outbox():
        pass


# --- the runs of the screenshots -------------------------------------------------------------------------------------


def shop(*, busy: bool = True) -> dict[str, Story]:
    """A shop's runs in all states. Workers are alive where ``busy``."""
    first = worker("web-1", 4242, load=3)
    second = worker("web-2", 1187, queues=["default", "slow"], heartbeat_at=clock.now() - timedelta(seconds=3))
    told = {
        "finished": finished(first, second),
        "failed": failed(first),
        "waiting": waiting(first),
        "blocked": blocked(first),
        "retrying": retrying(first),
        "sleeping": sleeping(first),
        "parent": parent(first),
    }
    if busy:
        told["running"] = running(first, second)
    return told


def finished(first: Worker, second: Worker) -> Story:
    """Retries, a lost worker, a hook with a delivery after hours, a gathered pair at the end."""
    with ago(hours=5):
        story = Story(
            "shop.workflows.fulfil_order", 42, worker=first, attributes={"shop.order": "42", "customer": "c1"},
            idempotency_key="order-42",
        )  # fmt: skip
        story.start()
        cid = "step:charge_card:1"
        story.create(cid, "shop.workflows.charge_card", 42).begin(cid)
        story.retry(cid, ConnectionError("connection to bank.example timed out"), 1.0, after=0.62).begin(cid, after=1.0)
        story.retry(cid, ConnectionError("HTTP 503 from bank.example"), 2.0, after=0.34).begin(cid, after=2.0)
        story.complete(cid, "ch_8Yd0q", after=0.41)
        story.step("step:mark_paid:1", "shop.workflows.mark_paid", 42, "ch_8Yd0q", took=0.018)
        story.hook("hook:1", "packed:42").sleep("wait:1", 3 * 86400, after=0)
        story.deliver("packed:42", {"box": "B-7", "weight": 2.4}, after=2 * 3600 + 780)
        story.cancel_wait("wait:1", after=0.004)
        pair = [("step:send_receipt:1", "send_receipt"), ("step:notify_warehouse:1", "notify_warehouse")]
        for cid, name in pair:
            story.create(cid, f"shop.workflows.{name}", 42)
        story.begin(pair[0][0]).begin(pair[1][0], worker=second)
        story.lose(pair[1][0], after=0.9).begin(pair[1][0], after=0.05)
        story.complete(pair[0][0], True, after=0.4).complete(pair[1][0], True, after=0.5)
        return story.set(carrier="north").end({"status": "shipped", "charge": "ch_8Yd0q"})


def failed(first: Worker) -> Story:
    with ago(minutes=42):
        story = Story(
            "shop.workflows.fulfil_order", 43, worker=first, attributes={"shop.order": "43", "customer": "c9"}
        )
        story.start()
        story.create("step:charge_card:1", "shop.workflows.charge_card", 43).begin("step:charge_card:1")
        exc = CardDeclinedError("insufficient funds on card ending 4242")
        for delay in (1.0, 2.0, 4.0):
            story.retry("step:charge_card:1", exc, delay, after=0.4).begin("step:charge_card:1", after=delay)
        return story.fail_step("step:charge_card:1", exc, after=0.3).fail(exc)


def waiting(first: Worker) -> Story:
    with ago(hours=3, minutes=12):
        story = Story(
            "shop.workflows.fulfil_order", 44, worker=first, attributes={"shop.order": "44", "customer": "c1"}
        )
        story.start()
        story.step("step:charge_card:1", "shop.workflows.charge_card", 44, took=0.7, output="ch_1")
        story.step("step:mark_paid:1", "shop.workflows.mark_paid", 44, took=0.02)
        return story.hook("hook:1", "packed:44").sleep("wait:1", 3 * 86400, after=0)


def blocked(first: Worker) -> Story:
    with ago(hours=1):
        story = Story("shop.workflows.subscribe", "c7", worker=first, attributes={"customer": "c7"})
        story.start()
        story.step("step:create_account:1", "shop.workflows.create_account", "c7", took=0.3)
        story.sleep("wait:1", 1800, after=0).wake("wait:1", after=1800)
        told = "Replay diverged at event 8: the log says step create_account, the code now says step verify_address."
        for _ in range(6):
            story.block(f"{told} Deploy code that fits the log, or guard the change with patched().", after=60)
    with ago(seconds=20):
        return story.block(f"{told} Deploy code that fits the log, or guard the change with patched().")


def retrying(first: Worker) -> Story:
    with ago(seconds=12):
        story = Story("shop.workflows.import_feed", "https://feeds.example/a.xml", worker=first, queue="slow").start()
        story.create("step:fetch:1", "shop.workflows.fetch").begin("step:fetch:1")
        story.retry("step:fetch:1", TimeoutError("no answer in 5 s"), 2.0, after=5).begin("step:fetch:1", after=2)
        return story.retry("step:fetch:1", TimeoutError("no answer in 5 s"), 40.0, after=3)


def running(first: Worker, second: Worker) -> Story:
    with ago(seconds=34):
        story = Story("shop.workflows.import_feed", "https://feeds.example/b.xml", worker=first, queue="slow").start()
        story.step("step:fetch:1", "shop.workflows.fetch", took=4.2)
        story.create("step:parse:1", "shop.workflows.parse").begin("step:parse:1", after=0.01)
        return story.create("step:thumbnails:1", "shop.workflows.thumbnails").begin("step:thumbnails:1", worker=second)


def sleeping(first: Worker) -> Story:
    with ago(hours=2):
        story = Story("shop.workflows.remind", "c3", worker=first, attributes={"customer": "c3"}).start()
        story.step("step:send_mail:1", "shop.workflows.send_mail", "c3", took=0.2)
        return story.sleep("wait:1", 9 * 3600)


def parent(first: Worker) -> Story:
    with ago(minutes=9):
        story = Story("shop.workflows.nightly", worker=first).start()
        one = child(story, "child:1", "shop.workflows.import_feed", "https://feeds.example/c.xml")
        two = child(story, "child:2", "shop.workflows.import_feed", "https://feeds.example/d.xml")
        one.start().step("step:fetch:1", "shop.workflows.fetch", took=2.0).end({"rows": 120})
        deliver_news()
        with story._transition(0.0, idle=True):
            pass
    with ago(minutes=1):
        two.start().create("step:fetch:1", "shop.workflows.fetch").begin("step:fetch:1")
        return story


def crowd(count: int = 240) -> None:
    """Many ended runs over the last day, for the overview."""
    names = ["fulfil_order", "remind", "import_feed", "subscribe"]
    for number in range(count):
        with ago(seconds=86_000 * (1 - (number + 1) / count) ** 1.4 + 30):
            name = names[number * 7 % 4]
            story = Story(f"shop.workflows.{name}", number, attributes={"customer": f"c{number % 40}"}).start()
            story.step("step:one:1", f"shop.workflows.{name}_first", took=0.05 + number % 13 * 0.11)
            if number % 17 == 5:
                story.create("step:two:1", "shop.workflows.charge_card").begin("step:two:1")
                story.fail_step("step:two:1", CardDeclinedError("declined"), after=1.3).fail(
                    CardDeclinedError("declined")
                )
            elif number % 29 == 3:
                story.cancel("ordered twice", force=True)
            else:
                story.end({"done": True})


def loop(rounds: int = 1200) -> Story:
    """A long run: many steps of two names, some of which failed once."""
    with ago(minutes=30):
        story = Story("shop.workflows.rebuild_index").start()
        for number in range(rounds):
            with transaction.atomic():
                story.step(f"step:read:{number + 1}", "shop.workflows.read_page", number, took=0.1)
                story.step(f"step:index:{number + 1}", "shop.workflows.index_page", number, took=0.2)
        return story.end({"pages": rounds})
