"""The access log, one line a request, and the lines that tell the engine of state changes."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from worker_embed.report import Change

ROTATE_BYTES = 10 * 1024 * 1024
KEPT = 3


def _append(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


class LogFile:
    """Lines are collected and written once a second; the file is rotated at 10 MiB, three old ones are kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._fd = sys.stderr.fileno() if path is None else _append(path)
        self._lines: list[str] = []
        self.add: Callable[[str], None] = self._lines.append

    def flush(self) -> None:
        """Write what was collected; lines are lost when the disk is full, which is no reason to stop answering."""
        if not self._lines:
            return
        data = "".join(f"{line}\n" for line in self._lines).encode(errors="backslashreplace")
        self._lines.clear()
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._fd, data) :]
            if self._path is not None and os.fstat(self._fd).st_size > ROTATE_BYTES:
                self._rotate(self._path)

    def close(self) -> None:
        self.flush()
        if self._path is not None:
            os.close(self._fd)

    def _rotate(self, path: Path) -> None:
        """Nothing changes unless there is a new file: a closed descriptor's number may be the next client's."""
        new = path.with_name(f"{path.name}.new")
        fresh = _append(new)
        for n in range(KEPT - 1, 0, -1):
            older = path.with_name(f"{path.name}.{n}")
            if older.exists():
                older.rename(path.with_name(f"{path.name}.{n + 1}"))
        path.rename(path.with_name(f"{path.name}.1"))
        new.rename(path)
        os.close(self._fd)
        self._fd = fresh


class LogHandler(logging.Handler):
    """What libraries and our own faults have to say goes into the same file."""

    def __init__(self, file: LogFile) -> None:
        super().__init__(logging.WARNING)
        self._file = file
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._file.add(self.format(record))
        self._file.flush()


class Changes:
    """Says `Change`s, in the file that the engine reads or, without one, on stderr; a full disk loses them."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def say(self, reason: str, message: str = "") -> None:
        line = msgspec.json.encode(Change(time.time(), reason, message)) + b"\n"
        with contextlib.suppress(OSError):
            if self._path is None:
                os.write(sys.stderr.fileno(), line)
                return
            fd = _append(self._path)
            try:
                os.write(fd, line)
            finally:
                os.close(fd)
