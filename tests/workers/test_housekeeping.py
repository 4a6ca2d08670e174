"""Chores of a worker fail apart: each pauses by itself, longer each time, and says why."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from django.db import OperationalError

from django_workflows.workers import housekeeping
from django_workflows.workers.housekeeping import Chore, Housekeeper
from tests.support.eventually import eventually


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "FIRST_PAUSE", 0.01)


class _Counting:
    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise OperationalError("no space left on device")


@pytest.fixture
def keepers() -> Iterator[list[Housekeeper]]:
    found: list[Housekeeper] = []
    yield found
    for keeper in found:
        keeper.stop()


def test_a_chore_that_fails_is_tried_again_and_the_others_go_on(
    keepers: list[Housekeeper], caplog: pytest.LogCaptureFixture
) -> None:
    failing, sound = _Counting(failures=3), _Counting()
    keeper = Housekeeper([Chore("prune", failing, 60.0, 0.0), Chore("deliver", sound, 0.01, 0.0)])
    keepers.append(keeper)
    with caplog.at_level(logging.INFO):
        keeper.start()
        eventually(lambda: failing.calls >= 4 and sound.calls >= 4, "both are done")
        eventually(lambda: "Housekeeping can prune again." in caplog.text, "the log says that it is over")
    assert caplog.text.count("Housekeeping could not prune: ") == 3
    assert "no space left on device" in caplog.text


def test_pauses_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    chore = Chore("prune", _Counting(failures=100))
    keeper = Housekeeper([chore])
    pauses = []
    for _ in range(4):
        keeper._do(chore)
        pauses.append(chore.held_until - 1000.0)
    assert all(later > 1.5 * earlier for earlier, later in itertools.pairwise(pauses))
    assert not keeper.is_busy  # what is held back keeps no worker from its end


def test_a_chore_is_done_when_it_is_asked_for(keepers: list[Housekeeper]) -> None:
    done = threading.Event()
    keeper = Housekeeper([Chore("rescue", done.set)])
    keepers.append(keeper)
    keeper.start()
    assert not keeper.is_busy
    keeper.ask("rescue")
    assert done.wait(30)
    eventually(lambda: not keeper.is_busy, "it is done")


def test_nobody_waits_for_a_chore_that_takes_long(keepers: list[Housekeeper]) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        go_on.wait(30)

    keeper = Housekeeper([Chore("prune", slow)])
    keepers.append(keeper)
    keeper.start()
    keeper.ask("prune")
    assert begun.wait(30)
    keeper.ask("prune")  # returns at once
    assert keeper.is_busy
    go_on.set()
