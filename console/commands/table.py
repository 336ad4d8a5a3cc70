"""Tables as kubectl prints them, and objects as json and yaml."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from rich.cells import cell_len

from screens.format import fit, safe_text
from screens.saved import json_text, object_list
from screens.widgets.columns import Column, Row

GAP = "   "
R = TypeVar("R", bound=Row)


class Lines(Generic[R]):
    """A table that is printed line by line: what was said once is said again only when it differs."""

    def __init__(self, columns: Sequence[Column[R]], widest: int = sys.maxsize) -> None:
        """A cell of more than `widest` cells moves the rest of its own line alone."""
        self._columns, self._widest = columns, widest
        self._widths: list[int] = []
        self._said: dict[str, tuple[str, ...]] = {}

    def new(self, rows: Iterable[R], at_s: float) -> list[str]:
        """Lines for the rows that say something new as of Unix time `at_s`; the titles come with the first of them."""
        fresh = [self._cells(row, at_s) for row in rows if self._is_new(row, at_s)]
        titles = [] if self._widths else [tuple(column.title for column in self._columns)]
        if not titles and not fresh:
            return []
        lines = [*titles, *fresh]
        now = [min(width, self._widest) for width in widths(lines)]
        self._widths = [max(pair) for pair in zip(self._widths or now, now, strict=True)]
        return laid_out(lines, self._widths, [column.right for column in self._columns])

    def _is_new(self, row: R, at_s: float) -> bool:
        """A clock that moves is no news."""
        now = tuple(column.text(row, at_s) for column in self._columns if not column.ticks)
        before, self._said[row.key] = self._said.get(row.key), now
        return before != now

    def _cells(self, row: R, at_s: float) -> tuple[str, ...]:
        """What does not apply is a `-`, but for marks, whose columns have no title."""
        texts = ((c, safe_text(c.text(row, at_s) + c.tail(row, at_s)).strip()) for c in self._columns)
        return tuple(text or ("-" if column.title else "") for column, text in texts)


def table(columns: Sequence[Column[R]], rows: Iterable[R], at_s: float, widest: int = sys.maxsize) -> list[str]:
    """Titles and rows, each column as wide as its widest cell up to `widest`."""
    return Lines(columns, widest).new(rows, at_s)


def widths(lines: Sequence[Sequence[str]]) -> list[int]:
    """Of the widest cell of each column, in cells of a terminal."""
    return [max(map(cell_len, column)) for column in zip(*lines, strict=True)]


def laid_out(lines: Sequence[Sequence[str]], widths: Sequence[int], right: Sequence[bool] = ()) -> list[str]:
    """Lines of cells as text, the cells of a column below each other."""
    sides = right or [False] * len(widths)
    return [
        GAP.join(
            fit(cell, max(width, cell_len(cell)), side) for cell, width, side in zip(line, widths, sides, strict=True)
        ).rstrip()
        for line in lines
    ]


def printed(objects: Sequence[Mapping[str, Any]], output: str, *, one: bool) -> str:
    """Objects as text that `apply` takes: one by itself, several as a `List`."""
    whole = objects[0] if one else object_list(objects)
    if output == "json":
        return json_text(whole)
    from operator_embed.yaml_text import dump

    return dump(whole).removesuffix("\n")
