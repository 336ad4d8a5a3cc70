"""Lines of text in tones, cut to cells and searched: what a pager shows, without a screen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Literal

from rich.cells import cell_len

from screens.format import Tone

Paint = Tone | Literal["added", "removed"]
"""How a span looks; each stands beside a sign or a word."""

Line = tuple[tuple[str, Paint], ...]
"""Spans of one line, in order; their text was made safe before."""

Mark = Literal["", "hit", "here"]
"""Whether a piece was searched for, and whether it is the one gone to."""

Hit = tuple[int, int, Mark]
"""Start and end offset in a line."""


def plain(line: Line) -> str:
    """The text of a line."""
    return "".join(text for text, _ in line)


def folds(text: str, width: int, hang: int = 0) -> Iterator[tuple[int, int]]:
    """Start and end of each screen line that `text` takes at `width` cells, broken after a space where there is one.

    All but the first leave `hang` cells free.
    """
    if len(text) <= width and (text.isascii() or cell_len(text) <= width):
        yield 0, len(text)
        return
    ends = list(accumulate(1 if c.isascii() else cell_len(c) for c in text))
    start = taken = 0
    for index, end in enumerate(ends):
        if end - taken > width - (hang if start else 0) and index > start:
            space = text.rfind(" ", start, index + 1) + 1
            stop = space if space > start else index
            yield start, stop
            start, taken = stop, ends[stop - 1]
    yield start, len(text)


def literal(needle: str) -> re.Pattern[str]:
    """A pattern that finds `needle` as typed, in any case."""
    return re.compile(re.escape(needle), re.IGNORECASE)


def pieces(line: Line, start: int, end: int, hits: Sequence[Hit]) -> Iterator[tuple[str, Paint, Mark]]:
    """The spans of `line` between two offsets, cut where a hit begins or ends."""
    offset = 0
    for text, paint in line:
        at, last = max(start, offset), min(end, offset + len(text))
        for hit_start, hit_end, mark in hits:
            low, high = max(hit_start, at), min(hit_end, last)
            if low < high:
                if at < low:
                    yield text[at - offset : low - offset], paint, ""
                yield text[low - offset : high - offset], paint, mark
                at = high
        if at < last:
            yield text[at - offset : last - offset], paint, ""
        offset += len(text)
