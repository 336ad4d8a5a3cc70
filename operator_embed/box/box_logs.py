"""Logs of a box: files that their writers rotate, read from their ends and followed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from operator_embed.box.home import Home
from operator_embed.box.replica_logs import written_s
from operator_embed.box.tail import Tail
from operator_embed.fleet.fleet import FleetError
from operator_embed.fleet.logs import LogLine
from operator_embed.fleet.text import safe_text
from worker_embed.process.spec import Phase

FOLLOW_EVERY_S = 0.25
ALL = 1 << 30
"""More lines than a log has."""
LINE = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)Z? +(debug|info|warning|error)? *(.*)", re.IGNORECASE | re.ASCII
)


class BoxLogs:
    """The facet `logs` of a box."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def sources(self, model: str) -> Sequence[str]:
        """Replicas of an AIModel with a log, also those that are gone; newest first."""
        name = model.rpartition("/")[2]
        written = [(written_s(file), file.stem) for file in self._home.logs.glob(f"{name}-?????.log")]
        return [stem for _, stem in sorted(written, reverse=True)]

    async def follow(
        self, sources: Sequence[str], *, tail: int = 1_000, previous: bool = False, follow: bool = True
    ) -> AsyncIterator[Sequence[LogLine]]:
        """The last `tail` lines of each, then new ones as they come, in batches; a rotated file is followed."""
        if previous:
            yield self._previous_runs(sources, tail)
            return
        tails = {source: Tail(self._path(source)) for source in sources}
        yield _in_order([_first(source, end, tail, whole=not follow) for source, end in tails.items()])
        while follow:
            await asyncio.sleep(FOLLOW_EVERY_S)
            if lines := [_line(source, raw) for source, end in tails.items() for raw in end.new()]:
                yield lines

    def _previous_runs(self, sources: Sequence[str], tail: int) -> Sequence[LogLine]:
        runs = [_before_the_last_start(source, self._path(source), tail) for source in sources]
        if not any(runs):
            raise FleetError(f"{', '.join(sources)}: there is no log of a previous run")
        return _in_order(runs)

    def _path(self, source: str) -> Path:
        if "/" in source or source.startswith("."):
            raise FleetError(f"{source}: no log has that name")
        path = self._home.logs / f"{source}.log"
        if not path.exists() and path.with_suffix(".out").exists():
            path = path.with_suffix(".out")
        if not path.exists():
            raise FleetError(f"{source}: there is no log of it")
        return path


def parsed(source: str, text: str) -> LogLine:
    """One line with its time and level, where it has them."""
    if match := LINE.match(text):
        at, level, rest = match.groups()
        try:
            at_s = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
        except ValueError:  # no such day or hour: it only looks like a time
            return LogLine(source=source, at_s=None, level="", text=safe_text(text))
        return LogLine(source=source, at_s=at_s, level=(level or "").lower(), text=safe_text(rest))
    return LogLine(source=source, at_s=None, level="", text=safe_text(text))


def _line(source: str, raw: bytes) -> LogLine:
    return parsed(source, raw.decode(errors="replace"))


def _first(source: str, end: Tail, count: int, *, whole: bool) -> list[LogLine]:
    """The last lines of one log; `whole` with the one that is not ended, which nobody will come back for."""
    raw = end.last(count)
    if whole and count:
        raw = [*raw, *end.rest()][-count:]
    return [_line(source, line) for line in raw]


def _before_the_last_start(source: str, log: Path, count: int) -> list[LogLine]:
    """The last lines of the run before the one that is going on; a run begins where its worker says so."""
    files = (log.with_name(f"{log.name}.1"), log)
    lines = [line for file in files for line in _first(source, Tail(file), ALL, whole=True)]
    starts = [number for number, line in enumerate(lines) if line.text == Phase.STARTING]
    if not starts:
        return []
    begin = starts[-2] if len(starts) > 1 else 0
    return lines[begin : starts[-1]][-count:] if count else []


def _in_order(logs: Sequence[Sequence[LogLine]]) -> list[LogLine]:
    """Lines of several logs by their times; one without a time stays with the line before it."""
    if len(logs) == 1:
        return list(logs[0])
    timed = [pair for log in logs for pair in _timed(log)]
    return [line for _, line in sorted(timed, key=lambda pair: pair[0])]


def _timed(log: Sequence[LogLine]) -> Iterator[tuple[float, LogLine]]:
    at_s = 0.0
    for line in log:
        at_s = at_s if line.at_s is None else line.at_s
        yield at_s, line
