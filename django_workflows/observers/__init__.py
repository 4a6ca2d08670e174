"""Who is told after each commit: see ``store.committed``, the seam.

::

    log_lines     one line per end of a run or step, retry, loss and block, on ``django_workflows.run`` and ``.step``
    sent_signals  the Django signals of ``django_workflows.signals``

``install`` connects them, when the app is ready.
"""

from __future__ import annotations

from ..store.committed import subscribe
from .log_lines import LogLines
from .sent_signals import SentSignals

_LOG_LINES, _SENT_SIGNALS = LogLines(), SentSignals()


def install() -> None:
    """Tell logs and signals from now on; logs first, so that a receiver's own lines follow them."""
    subscribe(_LOG_LINES)
    subscribe(_SENT_SIGNALS)
