"""Workflows that the schedules of these tests start."""

from __future__ import annotations

from django_workflows import sleep, workflow


@workflow(name="tests.digest")
async def digest(kind: str = "short") -> str:
    await sleep("30d")
    return kind


@workflow(name="tests.report")
async def report(kind: str = "short") -> str:
    if kind == "broken":
        raise ValueError("no")
    return kind


NAMES = ("tests.digest", "tests.report")
