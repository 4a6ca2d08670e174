"""The admin: see what a run did and why it waits, and act on it. For the person on call who has never seen the code.

::

    insight (read-only answers) ──▶ pages           run list · run page · overview · "runs about this object"
    pages ──▶ confirmation ──▶ api (the verbs)      every action has its own permission and leaves a LogEntry

Nothing is editable, addable or deletable by hand. :class:`RunsAboutMixin` is for a project's own ``ModelAdmin``.
"""

from .related_runs import RunsAboutMixin
from .run_admin import RunAdmin

__all__ = ["RunAdmin", "RunsAboutMixin"]
