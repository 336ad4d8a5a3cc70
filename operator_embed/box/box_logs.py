"""Logs of a box: files that their writers rotate, read from their ends and followed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from operator_embed.box.home import Home
from operator_embed.fleet.fleet import FleetError
from operator_embed.fleet.logs import LogLine
from operator_embed.fleet.text import safe_text

FOLLOW_EVERY_S = 0.25
TAIL_BYTES = 1 << 20
LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)Z? +(debug|info|warning|error)? *(.*)", re.IGNORECASE)


@dataclass(slots=True)
class _Tail:
    """One file that grows, and begins anew when it is rotated."""

    source: str
    path: Path
    inode: int = 0
    offset: int = 0
    rest: bytes = b""

    def new(self) -> list[LogLine]:
        """Whole lines since the last call."""
        try:
            found = self.path.stat()
            if found.st_ino != self.inode or found.st_size < self.offset:
                self.inode, self.offset, self.rest = found.st_ino, 0, b""
            if found.st_size == self.offset:
                return []
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read(TAIL_BYTES)
        except FileNotFoundError:
            return []
        self.offset += len(data)
        *lines, self.rest = (self.rest + data).split(b"\n")
        return [parsed(self.source, line.decode(errors="replace")) for line in lines]

    def last(self, count: int) -> list[LogLine]:
        """The last lines now, from which `new` goes on."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return []
        self.inode, self.offset = found.st_ino, max(0, found.st_size - TAIL_BYTES)
        cut = self.offset > 0
        lines = self.new()[1 if cut else 0 :]
        while self.offset < found.st_size and (more := self.new()):
            lines += more
        return lines[-count:] if count else []


class BoxLogs:
    """The facet `logs` of a box."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def sources(self, model: str) -> Sequence[str]:
        """Replicas of an AIModel with a log, also those that are gone; newest first."""
        name = model.rpartition("/")[2]
        files = list(self._home.logs.glob(f"{name}-?????.log"))
        files.sort(key=lambda file: -file.stat().st_mtime)
        return [file.stem for file in files]

    async def follow(
        self, sources: Sequence[str], *, tail: int = 1_000, previous: bool = False, follow: bool = True
    ) -> AsyncIterator[Sequence[LogLine]]:
        """The last `tail` lines of each, then new ones as they come, in batches; a rotated file is followed."""
        tails = [_Tail(source, self._path(source, previous)) for source in sources]
        first = [line for one in tails for line in one.last(tail)]
        if len(tails) > 1:
            first.sort(key=lambda line: line.at_s or 0.0)
        yield first
        while follow and not previous:
            await asyncio.sleep(FOLLOW_EVERY_S)
            if lines := [line for one in tails for line in one.new()]:
                yield lines

    def _path(self, source: str, previous: bool) -> Path:
        if "/" in source or source.startswith("."):
            raise FleetError(f"{source}: no log has that name")
        path = self._home.logs / f"{source}.log"
        if previous:
            path = path.with_suffix(".log.1")
        elif not path.exists() and path.with_suffix(".out").exists():
            path = path.with_suffix(".out")
        if not path.exists():
            raise FleetError(f"{source}: there is no {'previous ' if previous else ''}log of it")
        return path


def parsed(source: str, text: str) -> LogLine:
    """One line with its time and level, where it has them."""
    match = LINE.match(text)
    if match is None:
        return LogLine(source=source, at_s=None, level="", text=safe_text(text))
    at, level, rest = match.groups()
    at_s = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
    return LogLine(source=source, at_s=at_s, level=(level or "").lower(), text=safe_text(rest))
