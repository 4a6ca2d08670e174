"""Cut anywhere: random bodies, random interleavings of what arrives, and every prefix of the log decides the same.

The cut-anywhere property is the one everything rests on: what a body decides on a prefix of its log is a prefix of what it
decides on a longer one, whether its log is delivered live, from a cache or from the first event in another process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.support import Run, check_replays
from tests.engine.trees.growing import growing

#: a dropped body may await in one ``finally`` inside another; freeing it makes Python say so, and runs nothing
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = int(os.environ.get("TREES", "60"))

SECONDS = st.sampled_from([0.5, 1.0, 1.0, 2.0, 5.0])
LEAVES = st.one_of(
    st.tuples(st.just("step"), st.sampled_from(["a", "b", "charge"])).map(list),
    st.tuples(st.just("sleep"), SECONDS).map(list),
    st.tuples(st.just("nap"), SECONDS).map(list),
    st.tuples(st.just("hook"), st.sampled_from(["t1", "t2"]), st.integers(1, 2)).map(list),
    st.tuples(st.just("note"), st.sampled_from(["k1", "k2"])).map(list),
)


def _branches(trees: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[list[Any]]:
    several = st.sampled_from(["sequence", "gather", "group", "race", "first", "as_completed", "queue"])
    return st.one_of(
        st.builds(lambda kind, parts: [kind, *parts], several, st.lists(trees, min_size=1, max_size=3)),
        st.builds(
            lambda kind, limit, tree: [kind, limit, tree], st.sampled_from(["limit", "wait_for"]), SECONDS, trees
        ),
        st.builds(lambda kind, one, two: [kind, one, two], st.sampled_from(["cancel", "clean"]), trees, trees),
        st.builds(lambda kind, tree: [kind, tree], st.sampled_from(["catch", "shield"]), trees),
    )


TREES = st.recursive(LEAVES, _branches, max_leaves=8)
#: what arrives next, each time: a number that chooses among all that could
CHOICES = st.lists(st.integers(0, 10**6), min_size=1, max_size=60)


def drive(tree: list[Any], choices: list[int]) -> Run:
    """Let things arrive as the numbers say, then in any order, until the body has ended."""
    run = Run(growing, tree).start()
    for number, choice in enumerate([*choices, *range(1, 400, 2)]):
        if run.log.ended:
            break
        possible: list[tuple[Any, ...]] = []
        for step in run.log.open_steps:
            possible += [("complete", step), ("complete", step), ("fail", step)]
        possible += [("wait", wait) for wait in run.log.open_waits]
        possible += [("receive", token) for token in run.log.hooks.values()]
        if number > 3 and not run.log.cancelled and choice % 29 == 0:
            possible = [("cancel",)]
        if not possible:
            assert not run.log.cancelled, f"the body waits for nothing: {run.types}"
            possible = [("cancel",)]  # a hook that lost its token to another of its own
        kind, *what = possible[choice % len(possible)]
        if kind == "complete":
            run.complete(what[0], number)
        elif kind == "fail":
            run.fail(what[0], ValueError(f"no {number}"))
        elif kind == "wait":
            earliest = min(run.log.open_waits, key=lambda wait: (run.log.open_waits[wait], wait))
            run.pass_time(earliest if choice % 2 else what[0], woken=not choice % 2)
        elif kind == "receive":
            run.receive(what[0], number)
        else:
            run.cancel("enough")
    if not run.log.ended:
        run.execution.close()
    return run


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize="TREES" not in os.environ
)
@given(TREES, CHOICES)
def test_every_cut_of_every_log_decides_the_same(tree: list[Any], choices: list[int]) -> None:
    check_replays(drive(tree, choices))


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize="TREES" not in os.environ
)
@given(TREES, CHOICES, st.integers(1, 7))
def test_a_process_that_dies_again_and_again_makes_the_same_log(
    tree: list[Any], choices: list[int], every: int
) -> None:
    """The body is dropped and replayed in the middle of its life: the log does not show it."""
    kept = drive(tree, choices)
    run = Run(growing, tree)
    records = kept.records
    for cut in range(1, len(records), every):
        execution = run.new_execution()
        execution.replay(records[:cut])
        execution.close()
    again = drive(tree, choices)
    again.restart()
    assert [(r.type, r.correlation_id, r.data) for r in again.records] == [
        (r.type, r.correlation_id, r.data) for r in records
    ]


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_another_process_with_another_hash_seed_decides_the_same(seed: str, tmp_path: Path) -> None:
    """``str`` hashes and memory addresses differ there, and with them the order of every set."""
    path = tmp_path / "logs.json"
    path.write_text(json.dumps([_as_json(drive(tree, choices)) for tree, choices in _examples(40)]))
    code = "from tests.engine.trees.test_trees import replay_file; import sys; replay_file(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _examples(count: int) -> list[tuple[list[Any], list[int]]]:
    import random

    chance = random.Random(7)

    def tree(depth: int) -> list[Any]:
        if depth == 0 or chance.random() < 0.2:
            return chance.choice([["step", "a"], ["step", "b"], ["sleep", 1.0], ["hook", "t1", 1], ["nap", 2.0]])
        kind = chance.choice(
            ["gather", "group", "race", "first", "as_completed", "queue", "limit", "cancel", "sequence"]
        )
        if kind == "limit":
            return [kind, 1.0, tree(depth - 1)]
        if kind == "cancel":
            return [kind, tree(depth - 1), tree(depth - 1)]
        return [kind, *[tree(depth - 1) for _ in range(chance.randint(1, 4))]]

    return [(tree(3), [chance.randrange(10**6) for _ in range(60)]) for _ in range(count)]


def _as_json(run: Run) -> dict[str, Any]:
    return {
        "tree": run.records[0].payload["args"][0],
        "records": [[r.sequence, r.type, r.correlation_id, r.data, r.created_at.isoformat()] for r in run.records],
    }


def replay_file(path: str) -> None:
    """In the other process: every log, from the first event; the engine raises where a decision differs."""
    from django_workflows.eventlog.events import Record

    for log in json.loads(Path(path).read_text()):
        records = [
            Record(n, type, name, data, datetime.fromisoformat(at)) for n, type, name, data, at in log["records"]
        ]
        execution = Run(growing, log["tree"]).new_execution()
        execution.replay(records)
        assert not execution.take(), "more is decided than the log holds"
