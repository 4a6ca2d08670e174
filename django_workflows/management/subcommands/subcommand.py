"""What a subcommand consists of, and the arguments that several of them take."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandError

from django_workflows.inspection.run_filter import parse_attribute
from django_workflows.values.durations import parse

from ..console import Console


@dataclass(frozen=True, slots=True)
class Subcommand:
    """``run`` returns the exit code. It raises ``CommandError`` or a ``WorkflowError`` for what a person did wrong."""

    name: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Console, argparse.Namespace], int]
    details: str = ""

    @property
    def description(self) -> str:
        return f"{self.summary}\n\n{self.details}".strip()


def positive(text: str) -> int:
    """A whole number of at least 1, as an argument."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"takes a whole number >= 1, not {text}")
    return value


def seconds(text: str) -> float:
    """A duration in any form that ``sleep()`` takes as text: ``90``, ``5m``, ``1h 30m``."""
    try:
        return parse(float(text) if text.replace(".", "", 1).isdigit() else text).total_seconds()
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def attribute(text: str) -> tuple[str, str]:
    """``KEY=VALUE``, as ``--attribute`` takes it."""
    try:
        return parse_attribute(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parse_json(text: str, what: str) -> Any:
    """A JSON argument of the command line.

    Raises:
        CommandError: it is not JSON; the message says where, and how to quote it.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandError(
            f"{what} not JSON ({error}). Quote it for the shell, for example: '[42]' or '{{\"approved\": true}}'."
        ) from None
