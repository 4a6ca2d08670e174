"""The same log in every process, whatever the hash seed, the layout of memory and the garbage collector do."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from django_workflows.authoring.primitives import random, uuid4
from django_workflows.authoring.workflows import workflow
from django_workflows.engine.futures import DurableFuture

from .steps import a, b
from .storm import play
from .support import Run, check_replays


def test_a_storm_decides_the_same_under_every_hash_seed() -> None:
    root = Path(__file__).parents[2]
    logs = set()
    for hash_seed in ("0", "4711", "random"):
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-m", "tests.engine.storm", "7"],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        logs.add(done.stdout)
    assert len(logs) == 1
    assert logs.pop().count("\n") > 100


def test_a_storm_replays_wherever_it_is_cut() -> None:
    for seed in range(3):
        check_replays(play(seed), every=9)


def test_sets_of_tasks_are_in_the_same_order_however_many_runs_live() -> None:
    @workflow
    async def body() -> Any:
        tasks = {asyncio.create_task(a(n), name=str(n)) for n in range(100)}
        await b([task.get_name() for task in tasks])

    first = Run(body).start()
    crowd = [Run(body).start() for _ in range(20)]
    again = Run(body).start()
    assert first.records[2].data == again.records[2].data
    assert len(crowd) == 20


def test_sets_of_bare_futures_are_in_the_same_order_in_every_run() -> None:
    @workflow
    async def body() -> Any:
        loop = asyncio.get_running_loop()
        numbers = {loop.create_future(): n for n in range(100)}
        done, pending = await asyncio.wait(numbers, timeout=0)
        await b([numbers[future] for future in done | pending], [numbers[future] for future in set(numbers)])

    elsewhere = asyncio.new_event_loop()
    keep: list[Any] = []
    logged = set()
    for n in range(5):
        run = Run(body).start()
        assert run.types == ["step_created"]
        logged.add(run.records[-1].data)
        keep += [run, [DurableFuture(loop=elsewhere) for _ in range(7 * n + 3)]]  # other addresses in the next run
    assert len(logged) == 1
    elsewhere.close()


def test_default_names_of_tasks_are_the_runs_own() -> None:
    @workflow
    async def body() -> Any:
        async def helper() -> None: ...

        await a(asyncio.create_task(helper()).get_name())

    first, second = Run(body).start(), Run(body).start()
    assert first.records[-1].data == second.records[-1].data


def test_many_live_runs_do_not_slow_each_other_down() -> None:
    """asyncio keeps the tasks of all loops in one set: their hashes must differ from run to run."""

    @workflow
    async def body() -> Any:
        await a()

    runs = [Run(body) for _ in range(300)]
    for number, run in enumerate(runs):
        run.log.records[0]._payload = None
        data = run.records[0].data.replace("a seed", f"seed {number}")
        created = run.records[0]
        run.records[0] = type(created)(1, created.type, "", data, created.created_at)
        run.execution = run.new_execution()
        run.start()
    hashes = {hash(run.execution.runtime.main) for run in runs}
    assert len(hashes) == 300


def test_chance_is_the_runs_own() -> None:
    @workflow
    async def body() -> Any:
        first = [uuid4(), random().random()]
        await a()
        return [*first, uuid4(), random().randrange(10**9)]

    run = Run(body).start()
    run.restart()
    run.complete("a")
    assert [value.version for value in run.output[::2]] == [4, 4]
    assert run.output[0] != run.output[2]
    again = Run(body).start()
    again.complete("a")
    assert again.output == run.output
    check_replays(run)


def test_a_finalizer_runs_when_the_last_reference_goes_and_at_no_other_time() -> None:
    freed: list[str] = []

    class Noisy:
        def __init__(self, name: str) -> None:
            self.name = name
            self.me = self  # only the collector can free it

        def __del__(self) -> None:
            freed.append(self.name)

    @workflow
    async def body() -> Any:
        gc.collect()
        freed.clear()
        Noisy("cycle")
        junk = [[] for _ in range(100_000)]  # would start the collector many times
        return [list(freed), len(junk)]

    thresholds = gc.get_threshold()
    gc.set_threshold(10)
    try:
        assert Run(body).start().output == [[], 100_000]
    finally:
        gc.set_threshold(*thresholds)
        gc.collect()
    assert freed == ["cycle"]
