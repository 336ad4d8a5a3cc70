"""Which rows a table shows and in which order; knows no terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic

from screens.widgets.columns import Column, R, Value
from screens.widgets.filter import Field, Predicate, parse

ORDER_HOLDS_S = 2.0
"""An order by a figure stays this long: rows that jump cannot be read."""
KEY_HOLDS_S = 1.0
"""And this long after a key, so that the row under the cursor is the one that was meant."""
FAULTS = frozenset("!~?")


class Arrangement(Generic[R]):
    """Filter, faults, sort order and marks of one table."""

    def __init__(self, columns: Sequence[Column[R]], fields: Mapping[str, Field[R]]) -> None:
        self._given_fields = fields
        self._at_s = 0.0
        self._read(columns)
        self.marked: set[str] = set()
        self.only_faults = False
        self.filter_text = ""
        self.column: Column[R] | None = None
        self.reverse = False
        self._predicate: Predicate[R] | None = None
        self._order: dict[str, int] = {}
        self._sorted_s: float | None = None
        self._key_s = 0.0

    def _read(self, columns: Sequence[Column[R]]) -> None:
        named = {name: self._figure(column) or _text(column) for column in columns for name in column.names}
        self.fields: Mapping[str, Field[R]] = {**named, **self._given_fields}
        self.spans = frozenset(name for column in columns if column.seconds for name in column.names)
        self.words = tuple(c for c in columns if c.title and c.value is None and not c.ticks)
        self.mark = next((c for c in columns if not c.title), None)

    def use(self, columns: Sequence[Column[R]]) -> None:
        """Take other columns; the order stays by the title it was by."""
        self._read(columns)
        title = self.title
        self.column = next((c for c in columns if title and c.title == title), None)

    @property
    def title(self) -> str:
        """Of the column that the rows are sorted by; empty for the order in which they were given."""
        return self.column.title if self.column else ""

    def filter(self, text: str) -> None:
        """Show only what matches; raises `FilterError` and keeps the filter before when `text` is none."""
        self._predicate = parse(text, self.fields, self._text, self.spans) if text.strip() else None
        self.filter_text = text.strip()

    def sort(self, column: Column[R] | None, *, reverse: bool = False) -> None:
        """Order by a column: figures from the largest, text from A; `None` keeps the order of the rows as given."""
        self.column, self.reverse, self._sorted_s = column, reverse, None

    def touch(self, at_s: float) -> None:
        """A key was pressed at Unix time `at_s`."""
        self._key_s = at_s

    def arrange(self, rows: Sequence[R], at_s: float) -> Sequence[R]:
        """The rows to show as of Unix time `at_s`, in their order."""
        self._at_s = at_s
        shown: Sequence[R] = rows
        if self._predicate:
            shown = [row for row in shown if self._predicate(row)]
        if self.only_faults and (mark := self.mark):
            shown = [row for row in shown if mark.text(row, at_s) in FAULTS]
        if (column := self.column) is None:
            return shown
        if (figure := self._figure(column)) is None:
            return sorted(shown, key=lambda row: column.text(row, at_s).casefold(), reverse=self.reverse)
        if self._may_move(at_s):
            shown = _by_figure(shown, figure, self.reverse)
            self._order, self._sorted_s = {row.key: i for i, row in enumerate(shown)}, at_s
            return shown
        end = len(self._order)
        return sorted(shown, key=lambda row: self._order.get(row.key, end))

    def _may_move(self, at_s: float) -> bool:
        if self._sorted_s is None or at_s < self._sorted_s:
            return True
        return at_s - self._sorted_s >= ORDER_HOLDS_S and at_s - self._key_s >= KEY_HOLDS_S

    def _figure(self, column: Column[R]) -> Field[R] | None:
        """What a column is sorted and compared by, when that is no text."""
        if (born_s := column.born_s) is None:
            return column.value
        return lambda row: None if (since_s := born_s(row)) is None else self._at_s - since_s

    def _text(self, row: R) -> str:
        return " ".join((row.key, *(column.text(row, 0.0) for column in self.words)))


def _text(column: Column[R]) -> Field[R]:
    return lambda row: column.text(row, 0.0).strip()


def _by_figure(rows: Sequence[R], value: Field[R], reverse: bool) -> Sequence[R]:
    """Largest first; what is unknown or does not apply is last either way."""
    valued: list[tuple[Value, R]] = [(value(row), row) for row in rows]
    known = [(v, row) for v, row in valued if v is not None]
    known.sort(key=lambda pair: pair[0], reverse=not reverse)
    return [row for _, row in known] + [row for v, row in valued if v is None]
