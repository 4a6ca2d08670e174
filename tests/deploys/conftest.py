"""Runs under changing code are driven in the test's own process, as in the tests of recovery."""

from __future__ import annotations

from tests.recovery.conftest import work

__all__ = ["work"]
