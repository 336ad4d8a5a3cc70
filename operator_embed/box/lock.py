"""Who leads a box: an flock that belongs to an open file, so that a child which inherits it leads without a gap."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from operator_embed.box.home import HomeError


class Lock:
    """One process's hold, or try at a hold, of a lock file; see flock(2)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    @classmethod
    def from_fd(cls, path: Path, fd: int) -> Self:
        """Take over a lock that the parent holds through descriptor `fd`; `claim` tells others about it.

        Raises `HomeError` when `fd` is not that file, open and locked.
        """
        lock = cls(path)
        try:
            if not os.path.samestat(os.fstat(fd), os.stat(path)):
                raise HomeError(f"descriptor {fd} is not {path}")
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise HomeError(f"{path}: cannot take over the lock through descriptor {fd}: {error.strerror}") from error
        os.set_inheritable(fd, False)
        lock._fd = fd
        return lock

    @property
    def held(self) -> bool:
        return self._fd is not None

    def fileno(self) -> int:
        """For `subprocess`'s `pass_fds`: the child holds the lock from then on, as we do."""
        if self._fd is None:
            raise ValueError("the lock is not held")
        return self._fd

    def try_acquire(self) -> bool:
        """Take the lock if nobody has it; True as well when we have it already. Raises `HomeError`."""
        if self._fd is not None:
            return True
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HomeError(f"{self._path}: cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._fd = fd
        self.claim()
        return True

    def claim(self) -> None:
        """Write our pid as the leader's."""
        fd = self.fileno()
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)

    def holder(self) -> int | None:
        """Pid of the leader; `None` when nobody leads, 0 when it has not said who it is. Raises `HomeError`."""
        if self._fd is not None:
            return _pid(self._fd)
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HomeError(f"{self._path}: cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _pid(fd)
        finally:
            os.close(fd)
        return None

    def release(self) -> None:
        """Let go; a child that inherited the lock keeps it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _pid(fd: int) -> int:
    text = os.pread(fd, 20, 0).strip()
    return int(text) if text.isdigit() else 0
