"""What went wrong, in words for a user; what nobody expected goes to the log with all its details."""

from __future__ import annotations

import errno
import logging

from console.commands.errors import CommandError, UsageError, tell
from console.settings import SettingsError
from operator_embed.box.database import StoreError
from operator_embed.box.home import Home, HomeError
from operator_embed.fleet.fleet import FleetError

DISK = (errno.ENOSPC, errno.EDQUOT)
EXPECTED = (CommandError, FleetError, HomeError, SettingsError, StoreError)


def report(error: Exception) -> int:
    """Print an error, one line for each of its lines; returns the exit code."""
    if isinstance(error, EXPECTED):
        tell(str(error))
    elif isinstance(error, OSError) and error.filename is not None:
        tell(f"{error.filename}: {error.strerror}")
    elif isinstance(error, OSError) and error.errno in DISK:
        tell(f"cannot write: {error.strerror}; make room and try again")
    else:
        tell(f"unexpected {type(error).__name__}: {error}".splitlines()[0] + _kept(error))
    return 2 if isinstance(error, UsageError) else 1


def _kept(error: Exception) -> str:
    """Where the details were written, if they could be."""
    from console.wiring import log_to

    home = Home.default()
    try:
        log_to(home)
    except HomeError:
        return ""
    logging.getLogger(__name__).error("%s", error, exc_info=error)
    return f"; details are in {home.logs / 'uplion.log'}"
