"""Runs under code that changes are worked on as those of recovery are."""

from __future__ import annotations

from tests.recovery.conftest import work

__all__ = ["work"]
