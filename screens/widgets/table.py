"""A table drawn line by line: 50,000 rows cost what the visible ones cost, and what did not change costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic

from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType
from textual.cache import LRUCache
from textual.events import Click, Key, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import var
from textual.scroll_view import ScrollView
from textual.strip import Strip

from screens.actions import bindings
from screens.format import Spans, Tone
from screens.widgets.arrangement import Arrangement
from screens.widgets.columns import Column, Placed, R, column_title, fitted_cell, lay_out, letters
from screens.widgets.filter import Field
from screens.widgets.painted import Painted
from screens.widgets.panel import heading

__all__ = ["Column", "Table"]

SIDEWAYS_CELLS = 8
NOTE_LINE = 2
"""Where a table without rows says why."""


class Table(ScrollView, Painted, Generic[R], can_focus=True):
    """Rows under a fixed title line. The cursor belongs to a key, so it stays on its row when the order changes."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--columns", "table--sorted", "table--letter", "table--cursor", "table--title", "table--error",
        "table--warning", "table--muted", "table--accent", "table--history",
    }  # fmt: skip
    DEFAULT_CSS = """
    Table {
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        scrollbar-size-horizontal: 1;
        &.-all-columns { overflow-x: auto; }
        & > .table--columns { color: $text-muted; }
        & > .table--sorted { color: $text-muted; text-style: bold; }
        & > .table--letter { color: $text-accent; text-style: bold underline; }
        & > .table--cursor { background: $block-cursor-blurred-background; }
        &:focus > .table--cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
        &:nocolor > .table--cursor { text-style: reverse; }
        & > .table--title { text-style: bold; }
        & > .table--error { color: $text-error; text-style: bold; }
        & > .table--warning { color: $text-warning; }
        & > .table--muted { color: $text-muted; }
        & > .table--accent { color: $text-accent; text-style: bold; }
        & > .table--history { color: $primary; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings("table")

    cursor: var[str] = var("")
    """Key of the row under the cursor; empty in an empty table."""
    head: var[tuple[str, str, str]] = var(("", "", ""))
    """Title, text and right end of a panel heading in place of column titles; no title, no heading."""
    shown: var[tuple[int, bool]] = var((0, False))
    """How many rows are shown, and whether only those that carry a mark."""
    note: var[str] = var("")
    """What a table without rows says, other than that its filter matches none."""

    @dataclass
    class FromTable(Message):
        """What a table tells; `on` can name the table."""

        table: Table[Any]

        @property
        def control(self) -> Table[Any]:
            return self.table

    @dataclass
    class Opened(FromTable):
        """A row was chosen with enter or a second click."""

        key: str

    @dataclass
    class Moved(FromTable):
        """The cursor is on another row, or on none."""

        key: str

    @dataclass
    class Filtering(FromTable):
        """The user asks for the filter line, or narrows the table without one."""

        wanted: bool

    class Detailed(FromTable):
        """The user asks for the detail pane, or wants it gone."""

    def __init__(
        self,
        columns: Sequence[Column[R]],
        *,
        id: str | None = None,
        noun: str = "row",
        fields: Mapping[str, Field[R]] | None = None,
        copies: Callable[[R], str] = lambda row: row.key,
        sort: str = "",
        detail: Callable[[R, Size], Sequence[Spans]] | None = None,
    ) -> None:
        """`fields` are what a filter may compare besides the columns; `sort` is the title first sorted by.

        `detail` is what a pane of some size says of a row; without it there is none.
        """
        super().__init__(id=id)
        self.noun = noun
        self.detail = detail
        self.arrangement = Arrangement(columns, fields or {})
        self.arrangement.sort(next((c for c in columns if sort and c.title == sort), None))
        self._copies = copies
        self._all = tuple(columns)
        self._columns: Placed[R] = ()
        self._ticking: Sequence[Column[R]] = ()
        self._given: Sequence[R] = ()
        self._rows: Sequence[R] = ()
        self._index, self._at_s = 0, 0.0
        self._letters: Mapping[str, Column[R]] = {}
        self._typed = ""
        self._drawn: dict[int, tuple[object, ...]] = {}
        """What the lines that are not empty were drawn for."""
        self._strips: LRUCache[tuple[object, ...], Strip] = LRUCache(512)

    @property
    def rows(self) -> Sequence[R]:
        """The rows shown, in their order."""
        return self._rows

    @property
    def row(self) -> R | None:
        """The row under the cursor."""
        return self._rows[self._index] if self._index < len(self._rows) else None

    @property
    def chosen(self) -> Sequence[R]:
        """The rows an action is for: all marked ones, else the one under the cursor."""
        marked = [row for row in self._rows if row.key in self.arrangement.marked]
        return marked or ([self.row] if self.row else [])

    def use(self, columns: Sequence[Column[R]]) -> None:
        """Show other columns; the order stays by the title it was by."""
        if self._all != (chosen := tuple(columns)):
            self._all = chosen
            self.arrangement.use(chosen)
            self._place()

    def show(self, rows: Sequence[R], at_s: float) -> None:
        """Show `rows` as of Unix time `at_s`; draws the lines that differ."""
        self._given, self._at_s = rows, at_s
        if self.arrangement.marked:
            self.arrangement.marked &= {row.key for row in rows}
        self._arrange()

    def filter_by(self, text: str) -> None:
        """Show only rows that match; raises `FilterError` for a text that is no filter."""
        self.arrangement.filter(text)
        self._arrange()

    def show_all(self) -> None:
        """Show the rows that a filter leaves out, and those without a mark."""
        self.arrangement.only_faults = False
        self.filter_by("")
        self.post_message(self.Filtering(self, wanted=False))

    def select(self, key: str) -> None:
        """Put the cursor on a row, if it is there."""
        index = next((i for i, row in enumerate(self._rows) if row.key == key), None)
        if index is not None:
            self._move_to(index)

    def said_of_cursor(self, size: Size) -> Sequence[Spans]:
        """What a pane of this size says of the row under the cursor."""
        return self.detail(self.row, size) if self.detail and self.row else ()

    def _arrange(self) -> None:
        rows = self._rows = self.arrangement.arrange(self._given, self._at_s)
        width = 1 + sum(c.gap + cells for c, cells in self._columns) if self.has_class("-all-columns") else 0
        if self.virtual_size != (size := Size(width, len(rows) + 1)):
            self.virtual_size = size
        if not (self._index < len(rows) and rows[self._index].key == self.cursor):
            seen, cursor = self._in_sight, self.cursor
            here = (i for i, row in enumerate(rows) if row.key == cursor)
            self._index = next(here, max(0, min(self._index, len(rows) - 1)))
            self.cursor = rows[self._index].key if rows else ""
            if seen:
                self._bring_into_sight()
        self.shown = len(rows), self.arrangement.only_faults
        self._draw_changes()

    def _draw_changes(self) -> None:
        width, height = self.size
        used = max(self._drawn, default=0) + 1, len(self._rows) - self.scroll_offset.y + 1, NOTE_LINE + 1
        if other := [y for y in range(min(height, max(used))) if self._drawn.get(y, ()) != self._line_key(y)]:
            self.refresh(*(Region(0, y, width, 1) for y in other))

    def render_line(self, y: int) -> Strip:
        if key := self._line_key(y):
            self._drawn[y] = key
        else:
            self._drawn.pop(y, None)
        if (strip := self._strips.get(key)) is None:
            strip = self._strips[key] = self._strip(y)
        left, width = self.scroll_offset.x, self.size.width
        return strip.crop(left, left + width).adjust_cell_length(width, self.look(""))

    def _row_at(self, y: int) -> R | None:
        index = self.scroll_offset.y + y - 1
        return self._rows[index] if y > 0 and index < len(self._rows) else None

    def _line_key(self, y: int) -> tuple[object, ...]:
        """All that a line's look depends on, apart from size and theme, which empty the cache."""
        if y == 0:
            arrangement = self.arrangement
            return ("head", self.head) if self.head[0] else (arrangement.title, arrangement.reverse, *self._letters)
        if (row := self._row_at(y)) is None:
            return ("note", self._why_empty()) if y == NOTE_LINE and not self._rows else ()
        ticking = [column.text(row, self._at_s) + column.tail(row, self._at_s) for column in self._ticking]
        here = row.key == self.cursor
        return (row.key, row.version, here, here and self.has_focus, row.key in self.arrangement.marked, *ticking)

    def _why_empty(self) -> str:
        if not self._given:
            return self.note
        shown = f"esc shows all {len(self._given)}"
        if self.arrangement.filter_text:
            return f"No {self.noun} matches {self.arrangement.filter_text}.  {shown}"
        return f"No {self.noun} carries a mark.  {shown}"

    def _strip(self, y: int) -> Strip:
        if y == 0:
            return self._head_strip() if self.head[0] else self._titles_strip()
        if (row := self._row_at(y)) is None:
            note = f"   {self._why_empty()}" if y == NOTE_LINE and not self._rows else ""
            return Strip([Segment(note, self.look(""))])
        here = row.key == self.cursor
        chosen = here and self.has_focus
        style = self.look("table--cursor" if here else "")
        mark_style = style if chosen else style + ink(self.look("table--accent"))
        segments = [Segment("*" if row.key in self.arrangement.marked else " ", mark_style)]
        for column, width in self._columns:
            tone: Tone = "" if chosen else column.tone(row)
            fitted = fitted_cell(column, row, self._at_s, width)
            cell_style = style + ink(self.look(f"table--{tone}")) if tone else style
            segments.append(Segment(" " * column.gap + fitted, cell_style))
        return Strip(segments).extend_cell_length(self.size.width, style)

    def _head_strip(self) -> Strip:
        title, text, right = self.head
        return Strip(
            Segment(part, self.look(f"table--{tone}" if tone else ""))
            for part, tone in heading(title, text, right, self.size.width)
        )

    def _titles_strip(self) -> Strip:
        letter_of = {column: letter for letter, column in self._letters.items()}
        segments = [Segment(" ", self.look(""))]
        for column, width in self._columns:
            sorted_by = bool(column.title) and column.title == self.arrangement.title
            style = self.look("table--sorted" if sorted_by else "table--columns")
            text = column_title(column, width, ("↑" if self.arrangement.reverse else "↓") if sorted_by else "")
            at = text.lower().find(letter_of[column]) if column in letter_of else -1
            if at < 0:
                segments.append(Segment(text, style))
            else:
                letter = Segment(text[at], self.look("table--letter"))
                segments += [Segment(text[:at], style), letter, Segment(text[at + 1 :], style)]
        return Strip(segments)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()

    def on_mount(self) -> None:
        self.watch(self, "show_vertical_scrollbar", self._place, init=False)

    def on_resize(self, event: Resize) -> None:
        """Place the columns in the new width and draw all again."""
        self._place()

    def _place(self) -> None:
        width = self.scrollable_content_region.width
        bar = self.size.width - width
        self._columns = lay_out(self._all, width, bar=bar, wide=self.has_class("-all-columns"))
        self._ticking = [column for column, _ in self._columns if column.ticks]
        self._strips.clear()
        self._arrange()
        self.refresh()

    def watch_cursor(self) -> None:
        self._bring_into_sight()
        self._draw_changes()
        self.post_message(self.Moved(self, self.cursor))

    @property
    def _in_sight(self) -> bool:
        """Whether the line under the cursor is on the screen: an action on a line that nobody sees is a trap."""
        return 0 <= self._index - self.scroll_offset.y < self._page

    def _bring_into_sight(self) -> None:
        if not self._in_sight:
            above = self._index < self.scroll_offset.y
            self.scroll_to(y=self._index if above else self._index - self._page + 1, animate=False)

    def watch_head(self) -> None:
        self._draw_changes()

    def watch_note(self) -> None:
        self._draw_changes()

    def on_key(self, event: Key) -> None:
        self._typed = event.key  # no binding tells its action which of its keys it was
        self._choose_column(event)

    def _choose_column(self, event: Key) -> None:
        """While the titles show their letters, the next key chooses a column and does nothing else."""
        if self._letters:
            event.stop()
            event.prevent_default()
            column = self._letters.get(event.character or "")
            self._letters = {}
            self._sort_by(column or self.arrangement.column, reverse=not column and self.arrangement.reverse)

    def on_click(self, event: Click) -> None:
        """A click selects, a second one opens, one on a title sorts."""
        if event.y == 0:
            if not self.head[0] and (column := self._column_at(event.x + self.scroll_offset.x)):
                again = column.title == self.arrangement.title
                self._sort_by(column, reverse=again and not self.arrangement.reverse)
        elif (row := self._row_at(event.y)) is not None:
            if row.key == self.cursor:
                self.action_open()
            else:
                self._move_to(self.scroll_offset.y + event.y - 1)

    def _column_at(self, x: int) -> Column[R] | None:
        end = 1
        for column, width in self._columns:
            end += column.gap + width
            if x < end:
                return column if column.title else None
        return None

    def _sort_by(self, column: Column[R] | None, *, reverse: bool) -> None:
        self.arrangement.sort(column, reverse=reverse)
        self._arrange()

    def _move_to(self, index: int) -> None:
        self.arrangement.touch(self._at_s)
        if self._rows:
            self._index = min(max(index, 0), len(self._rows) - 1)
            self.cursor = self._rows[self._index].key

    @property
    def _page(self) -> int:
        return max(1, self.scrollable_content_region.height - 1)

    def action_move_down(self) -> None:
        self._move_to(self._index + 1)

    def action_move_up(self) -> None:
        self._move_to(self._index - 1)

    def action_move_first(self) -> None:
        self._move_to(0)

    def action_move_last(self) -> None:
        self._move_to(len(self._rows) - 1)

    def action_half_down(self) -> None:
        self._move_to(self._index + max(1, self._page // 2))

    def action_half_up(self) -> None:
        self._move_to(self._index - max(1, self._page // 2))

    def action_page_down(self) -> None:
        self._move_to(self._index + self._page)

    def action_page_up(self) -> None:
        self._move_to(self._index - self._page)

    def action_scroll_left(self) -> None:
        self.scroll_to(x=self.scroll_offset.x - SIDEWAYS_CELLS, animate=False)

    def action_scroll_right(self) -> None:
        self.scroll_to(x=self.scroll_offset.x + SIDEWAYS_CELLS, animate=False)

    def action_open(self) -> None:
        if self.cursor:
            self.post_message(self.Opened(self, self.cursor))

    def action_filter(self) -> None:
        self.post_message(self.Filtering(self, wanted=True))

    def action_only_faults(self) -> None:
        self.arrangement.only_faults = not self.arrangement.only_faults
        self._arrange()
        if not self.arrangement.filter_text:
            self.post_message(self.Filtering(self, wanted=False))

    def action_sort(self) -> None:
        self._letters = {} if self.head[0] else letters([column for column, _ in self._columns])
        self._draw_changes()

    def action_sort_by(self) -> None:
        """Sort by the column of the capital that was typed; of another key, ask for the letter."""
        named = letters([column for column, _ in self._columns])
        column = named.get(self._typed.lower()) if self._typed.isupper() else None
        if column and not self.head[0]:
            again = column.title == self.arrangement.title
            self._sort_by(column, reverse=again and not self.arrangement.reverse)
        elif not self._typed.isupper():
            self.action_sort()

    def action_reverse(self) -> None:
        self._sort_by(self.arrangement.column, reverse=not self.arrangement.reverse)

    def action_mark(self) -> None:
        self.arrangement.marked ^= {self.cursor} if self.cursor else set()
        self._draw_changes()
        self._move_to(self._index + 1)

    def action_mark_all(self) -> None:
        shown = {row.key for row in self._rows}
        self.arrangement.marked = set() if shown <= self.arrangement.marked else shown
        self._draw_changes()

    def action_clear(self) -> None:
        if self.arrangement.filter_text or self.arrangement.only_faults:
            self.show_all()
        else:
            self.arrangement.marked = set()
            self._draw_changes()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Escape goes on to the screen when there is nothing to clear here."""
        if action == "clear":
            return bool(self.arrangement.filter_text or self.arrangement.only_faults or self.arrangement.marked)
        return action != "detail" or self.detail is not None

    def action_wide(self) -> None:
        self.toggle_class("-all-columns")
        self._place()

    def action_detail(self) -> None:
        self.post_message(self.Detailed(self))

    def action_copy(self) -> None:
        if self.row:
            self.app.copy_to_clipboard(text := self._copies(self.row))
            self.notify(f"copied: {text}", markup=False, timeout=2)


def ink(style: Style) -> Style:
    """What a style draws with, without the surface that it draws on."""
    return Style(color=style.color, bold=style.bold)
