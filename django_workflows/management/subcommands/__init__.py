"""The subcommands, in the order in which ``--help`` lists them."""

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
