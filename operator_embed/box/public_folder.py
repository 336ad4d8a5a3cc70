"""A folder in a public place that is there while processes use it: the last one that leaves removes it."""

from __future__ import annotations

import atexit
import fcntl
import os
import threading
from contextlib import suppress
from pathlib import Path

from operator_embed.box.doorbell import ring

_held: dict[Path, int] = {}
"""An open descriptor of each, with a shared lock of this process; see flock(2)."""
_holding = threading.Lock()


def hold(folder: Path, bells: Path) -> bool:
    """Keep `folder` until this process ends; False when the last one that used it removed it just now."""
    with _holding:
        if folder in _held and _is(folder, _held[folder]):
            return True
        try:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        fcntl.flock(fd, fcntl.LOCK_SH)
        if not _is(folder, fd):
            os.close(fd)
            return False
        if folder in _held:
            os.close(_held[folder])
        else:
            atexit.register(_leave, folder, bells)
        _held[folder] = fd
        return True


def _is(folder: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), folder.lstat())
    except FileNotFoundError:
        return False


def _leave(folder: Path, bells: Path) -> None:
    """What dead processes left goes as well; a bell that somebody still hears, an API node without a leader, stays."""
    fd = _held.pop(folder)
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ring(bells)
        bells.rmdir()
        for left in folder.glob("*.sock"):
            left.unlink()
        folder.rmdir()
    os.close(fd)
