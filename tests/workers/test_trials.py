"""The short form of the trials that have found most. ``make trials`` runs all of them, for minutes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.processes import ROOT

pytestmark = [pytest.mark.timeout(180)]


@pytest.mark.parametrize(
    "name",
    [
        "seed_load",
        "kills",
        "refusals",
        "pooler",
        "isolation",
        pytest.param("cuts", marks=pytest.mark.trial),
        pytest.param("outage", marks=pytest.mark.trial),
    ],
)
def test_the_trial_passes(name: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}  # it brings its own server
    done = subprocess.run(
        [sys.executable, "-m", "trials", name], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
