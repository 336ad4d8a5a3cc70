"""Files that children write: logs, read from the end, and changes, read as they come."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

from worker_embed.report import Change

_log = logging.getLogger(__name__)
_TAIL_BYTES = 64 * 1024


def tail_lines(path: Path, count: int, start: int = 0) -> tuple[str, ...]:
    """The last `count` lines that are not blank, none from before byte `start`; of a file that shrank, all count."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            first = max(start if start <= size else 0, size - _TAIL_BYTES)
            file.seek(first)
            text = file.read(_TAIL_BYTES).decode(errors="replace")
    except OSError:  # gone, or no file descriptor is left to read it by
        return ()
    return tuple([line.rstrip() for line in text.splitlines() if line.strip()][-count:])


class ChangesFile:
    """The changes that a child appends to its file, each handed out once."""

    def __init__(self, path: Path, read: int = 0) -> None:
        self.path = path
        self.read = read
        """Bytes handed out so far."""

    def newest(self) -> list[Change]:
        """What was completed since the last call; costs one `stat` when nothing was."""
        try:
            size = os.stat(self.path).st_size
            if size == self.read:
                return []
            start = self.read if size > self.read else 0
            with self.path.open("rb") as file:
                file.seek(start)
                whole, newline, _ = file.read().rpartition(b"\n")
        except OSError:
            return []
        self.read = start + len(whole) + len(newline)
        return [change for line in whole.splitlines() if (change := self._decoded(line))]

    def _decoded(self, line: bytes) -> Change | None:
        try:
            return msgspec.json.decode(line, type=Change)
        except msgspec.DecodeError as error:
            _log.warning("%s: left out a line that is no change: %s", self.path, error)
            return None
