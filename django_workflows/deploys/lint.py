"""Reading workflow bodies for what replay cannot repeat, as warnings of ``manage.py check``.

::

    sources       a function's syntax tree and place; lines that say ``# workflows: ignore[W010]``
    names         what a name in a body stands for: "datetime.datetime.now", a step, a model
    rules         which of them a body must not use, and what to use instead
    bodies        one body and the project's functions that it calls: warnings
    system_check  warnings of all registered workflows -> Django's checks
"""

from __future__ import annotations

from .bodies import LintWarning, lint_workflow
from .rules import RULES, Rule

__all__ = ["RULES", "LintWarning", "Rule", "lint_workflow"]
