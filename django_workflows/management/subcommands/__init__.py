"""The subcommands, in the order in which ``--help`` lists them."""

from __future__ import annotations

from . import acting, doctor, listing, prune, show, start, verify, worker
from .subcommand import Subcommand

SUBCOMMANDS: tuple[Subcommand, ...] = (
    worker.subcommand,
    start.subcommand,
    listing.subcommand,
    show.subcommand,
    acting.cancel,
    acting.resume,
    acting.wake,
    acting.retry,
    verify.subcommand,
    doctor.subcommand,
    prune.subcommand,
)
