"""Columns of a table: what each shows of a row, and which of them fit into a width."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Generic, Protocol, TypeVar

from rich.cells import cell_len

from screens.format import Tone, age, fit, fit_middle

FREE_CELLS = 2
"""Left free by a column that grows: a scrollbar, and a cell before it, come and go without moving a column."""
ANY_WIDTH = 1_000
MARK_CELLS = 1
"""Left of the first column."""


class Row(Protocol):
    """What a table needs to know of a row."""

    @property
    def key(self) -> str: ...
    @property
    def version(self) -> int: ...


R = TypeVar("R", bound=Row)

Value = float | str | None


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """One column; `text` gets the row and the view's Unix time."""

    title: str
    width: int
    text: Callable[[R, float], str]
    _: KW_ONLY
    tone: Callable[[R], Tone] = lambda row: ""
    value: Callable[[R], Value] | None = None
    """What a figure is sorted and compared by, `None` for unknown; columns without are text."""
    born_s: Callable[[R], float | None] | None = None
    """Unix time from which an age counts: the age is what is sorted and compared."""
    seconds: bool = False
    """A figure in seconds: in a filter, `5m` are minutes, where they are millions of all else."""
    tail: Callable[[R, float], str] = lambda row, at_s: ""
    """Follows the text and stays whole when the text loses its end."""
    right: bool = False
    middle: bool = False
    """What is too long loses its middle instead of its end."""
    grow: bool = False
    """Takes the cells left over; one column of a table does."""
    least: int = 0
    """Shrinks to this many cells before columns are dropped; 0 does not shrink."""
    drop: int = 0
    """Narrow terminals lose the highest number first; 0 always stays."""
    since: int = 0
    """Least width of the table, margins included, at which it is shown unasked."""
    until: int = ANY_WIDTH
    """Most width at which it is shown: where a narrow and a wide column say the same."""
    gap: int = 1
    """Free cells before it."""
    ticks: bool = False
    """Changes with the clock alone."""

    @property
    def names(self) -> tuple[str, ...]:
        """What a filter may call it: `REQ/S` is `reqs` and `req`."""
        words = re.findall(r"[a-z0-9]+", self.title.lower())
        return ("".join(words), words[0]) if words else ()


def age_column(born_s: Callable[[R], float | None]) -> Column[R]:
    """How long ago something was; `-` for what has not begun."""

    def text(row: R, at_s: float) -> str:
        return "-" if (since_s := born_s(row)) is None else age(at_s - since_s)

    return Column("AGE", 4, text, born_s=born_s, seconds=True, right=True, ticks=True)


def figure_column(
    title: str, width: int, value: Callable[[R], float | None], text: Callable[[float], str]
) -> Column[R]:
    """A figure; `-` for what has none, such as a replica without a process."""

    def shown(row: R, at_s: float) -> str:
        return "-" if (figure := value(row)) is None else text(figure)

    return Column(title, width, shown, value=value, right=True)


Placed = tuple[tuple[Column[R], int], ...]
"""Columns in their order, each with its width in cells."""


def lay_out(columns: Sequence[Column[R]], width: int, *, bar: int = 0, wide: bool = False) -> Placed[R]:
    """The columns that fit into a line of `width` cells, the growing one with what is left.

    `bar` is what a scrollbar took of the table, and moves no column that grows; `wide` keeps all columns.
    """
    outer = width + bar
    kept = [c for c in columns if (c.until == ANY_WIDTH if wide else c.since <= outer < c.until)]

    def needed(least: bool = True) -> int:
        return MARK_CELLS + sum(((c.least if least else 0) or c.width) + c.gap for c in kept)

    while not wide and needed() > width and (first := max(kept, key=lambda c: c.drop)).drop:
        kept.remove(first)
    short = max(0, needed(least=False) - width)
    spare = max(0, outer - needed(least=False) - FREE_CELLS)
    return tuple((c, c.width + spare * c.grow - (min(short, c.width - c.least) if c.least else 0)) for c in kept)


def letters(columns: Sequence[Column[R]]) -> dict[str, Column[R]]:
    """The key that sorts by each column: the first letter of its title that no column before it has."""
    taken: dict[str, Column[R]] = {}
    for column in columns:
        letter = next((c for c in column.title.lower() if c.isalnum() and c not in taken), "")
        if letter:
            taken[letter] = column
    return taken


def fitted_cell(column: Column[R], row: R, at_s: float, width: int) -> str:
    """The cell of a row in exactly `width` cells."""
    text = column.text(row, at_s)
    if tail := column.tail(row, at_s):
        room = max(1, width - cell_len(tail))
        text = (fit(text, room) if cell_len(text) > room else text) + tail
    return fit_middle(text, width) if column.middle else fit(text, width, column.right)


def column_title(column: Column[R], width: int, arrow: str) -> str:
    """A title over its column, gap included, with the arrow of the sort order where there is room for it."""
    if not arrow:
        return " " * column.gap + fit(column.title, width, column.right)
    spaced = f"{column.title} {arrow}"
    text = spaced if len(spaced) <= width else column.title + arrow
    if len(text) > width:
        return fit(text, width + column.gap, right=True)
    return " " * column.gap + fit(text, width, column.right)
