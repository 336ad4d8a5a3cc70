"""The end of a log that somebody else writes and rotates."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 1 << 20
"""Read at once, and looked back at most."""
LINE_BYTES = 65_536
"""A longer line is cut, so that a file without line ends costs no memory."""


@dataclass(slots=True)
class Tail:
    """Follows a path through rotation: what it names now becomes `<path>.1`, or is cut to nothing."""

    path: Path
    _inode: int = 0
    _offset: int = 0
    _rest: bytes = b""
    """The start of a line whose end is not written yet."""

    def last(self, count: int) -> list[bytes]:
        """The last lines now, at most `count`; `new` goes on from there."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return []
        self._inode, self._offset = found.st_ino, max(0, found.st_size - CHUNK_BYTES)
        begins_within_a_line = self._offset > 0
        lines = self._read(self.path)[begins_within_a_line:]
        return lines[-count:] if count else []

    def new(self) -> list[bytes]:
        """Lines that were written since the last call, and one that was not ended since then."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return []
        lines = []
        if found.st_ino != self._inode:
            lines = self._end_of_rotated()
            self._inode, self._offset = found.st_ino, 0
        elif found.st_size < self._offset:
            lines = self.rest()
            self._offset = 0
        if found.st_size > self._offset:
            return lines + self._read(self.path)
        return lines + self.rest()

    def rest(self) -> list[bytes]:
        """The line that is not ended, if there is one; what follows of it counts as another."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []

    def _end_of_rotated(self) -> list[bytes]:
        """What was written to the file between the last call and its rotation."""
        rotated = self.path.with_name(f"{self.path.name}.1")
        try:
            known = self._inode == rotated.stat().st_ino
        except FileNotFoundError:
            known = False
        return [*(self._read(rotated) if known else []), *self.rest()]

    def _read(self, path: Path) -> list[bytes]:
        try:
            with path.open("rb") as file:
                file.seek(self._offset, os.SEEK_SET)
                data = file.read(CHUNK_BYTES)
        except FileNotFoundError:
            return []
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES:
            lines += self.rest()
        return [line[:LINE_BYTES] for line in lines]
