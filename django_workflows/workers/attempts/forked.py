"""The end of a process that a step has forked: it must not go on as a second worker."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from typing import NoReturn


def end_child() -> NoReturn:
    """End this process as an interpreter would that is left by the exception being handled, if there is one."""
    error = sys.exc_info()[1]
    code = 0
    with suppress(BaseException):
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif error is not None:
            code = 1
            traceback.print_exception(error)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code & 0xFF)
