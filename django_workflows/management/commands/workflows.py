"""``manage.py workflows``: one command, a subcommand for each thing one does with runs and workers.

The subcommands are doors: they parse, call ``api``, render. What goes wrong is one sentence with the error's code, and
exit 1.
"""

from __future__ import annotations

import argparse
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils.connection import ConnectionDoesNotExist

from django_workflows.exceptions import WorkflowError

from ..console import Console
from ..subcommands import SUBCOMMANDS


class Command(BaseCommand):
    """``manage.py workflows SUBCOMMAND …``."""

    help = "Run workers, start workflows, look at runs and act on them."

    def add_arguments(self, parser: CommandParser) -> None:
        subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="subcommand")
        for subcommand in SUBCOMMANDS:
            child = subparsers.add_parser(
                subcommand.name,
                help=subcommand.summary,
                description=subcommand.description,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            subcommand.add_arguments(child)
            _take_base_options(child)
            child.set_defaults(run=subcommand.run)

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(self.stdout, self.style, colour=self.style_is_coloured(options))
        try:
            code = options["run"](console, argparse.Namespace(**options))
        except WorkflowError as error:
            raise CommandError(f"{error.code}: {error}") from error
        except DatabaseError as error:
            raise CommandError(_database_advice(error)) from error
        except (ImproperlyConfigured, ConnectionDoesNotExist) as error:
            raise CommandError(f"The settings are wrong: {error}") from error
        except UnicodeEncodeError as error:
            raise CommandError("An argument is not text: it holds bytes that are not UTF-8.") from error
        except BrokenPipeError:
            code = 0  # `workflows list | head`
        if code:
            raise SystemExit(code)

    def style_is_coloured(self, options: dict[str, Any]) -> bool:
        return not options.get("no_color") and (self.stdout.isatty() or bool(options.get("force_color")))


def _take_base_options(parser: argparse.ArgumentParser) -> None:
    """Django's own options are understood behind the subcommand, too: ``workflows worker -v 2``."""
    options = parser.add_argument_group("options of every management command")
    options.add_argument("-v", "--verbosity", type=int, choices=[0, 1, 2, 3], default=argparse.SUPPRESS)
    for name in ("--settings", "--pythonpath"):
        options.add_argument(name, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    for name in ("--traceback", "--no-color", "--force-color", "--skip-checks"):
        options.add_argument(name, action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def _database_advice(error: DatabaseError) -> str:
    text = str(error).strip()
    if "django_workflows_" in text and ("no such table" in text or "does not exist" in text):
        return "The tables are missing: run `manage.py migrate django_workflows` first."
    return f"The database refused: {text}"
