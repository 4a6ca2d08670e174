"""Whether an error means that the database is away, or answers and refuses: doors ask their caller to come back."""

from __future__ import annotations

import logging

from ..store.faults import DATABASE_ERRORS, classify

logger = logging.getLogger(__name__)

#: seconds after which a caller may try again
RETRY_AFTER = 5


def is_unavailable(error: BaseException) -> bool:
    """Whether the same request may succeed later, since the fault lies with the database. Logs what the fault is."""
    if not isinstance(error, DATABASE_ERRORS):
        return False
    fault = classify(error)
    if fault.will_pass:
        logger.warning("A request was answered 503: %s.", fault.sentence)
    return fault.will_pass
