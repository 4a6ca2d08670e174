"""The admin: see what a run did and why it waits, and act on it. For the person on call who has never seen the code.

::

    inspection (read-only answers) ──▶ pages ──▶ confirmation ──▶ api (one call for each verb)

    run_admin      the ModelAdmin: permissions, columns of the list, the routes of the pages below
    changelist     the list by keyset                  filters        what it can be narrowed to
    run_page       the page of one run, live           overview_page  the system at a glance
    related_runs   "runs about this object" on another model's page
    verbs          what may be done to a run: words, permission, the call of api
    actions        confirm (GET) and do (POST) a verb, for one run or many; resume and dispose hooks
    forms          why, and the payload for a hook     audit          a LogEntry for each action
    rendering      pieces of HTML that pages share
    site           links lead to the admin site that was asked, of several

Nothing is editable, addable or deletable by hand. :class:`RunsAboutMixin` is for a project's own ``ModelAdmin``.
"""

from .related_runs import RunsAboutMixin
from .run_admin import RunAdmin

__all__ = ["RunAdmin", "RunsAboutMixin"]
