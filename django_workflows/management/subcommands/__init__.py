"""The subcommands, in the order in which ``--help`` lists them.

::

    subcommand   what each consists of, and arguments that several of them take
    worker       run workers                          start        start a run, and follow it
    listing      list runs                            show         one run as a timeline or a log
    actions      cancel, resume, wake, retry          fork         go another way from a step
    schedules    schedules, and one of them           beat         Celery beat's entries as schedules
    verify       hold logs and tables to the rules    doctor       what is stalled, and repair
    prune        remove ended runs                    erase        erase their payloads
    histories    export, import, replay               lock         makelock, check

A new subcommand is a module here and a line in :data:`SUBCOMMANDS`.
"""

from __future__ import annotations

from . import actions, doctor, erase, fork, histories, listing, lock, prune, schedules, show, start, verify, worker
from .subcommand import Subcommand

SUBCOMMANDS: tuple[Subcommand, ...] = (
    worker.subcommand,
    start.subcommand,
    listing.subcommand,
    show.subcommand,
    actions.cancel,
    actions.resume,
    actions.wake,
    actions.retry,
    fork.subcommand,
    schedules.listing,
    schedules.one,
    verify.subcommand,
    doctor.subcommand,
    prune.subcommand,
    erase.subcommand,
    histories.export,
    histories.import_,
    histories.replay,
    lock.makelock,
    lock.check,
)
