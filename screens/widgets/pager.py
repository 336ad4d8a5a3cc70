"""A page of text that scrolls, wraps, follows its end and is searched, drawn line by line."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.events import MouseScrollUp, Resize
from textual.geometry import Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from screens.actions import bindings
from screens.widgets.painted import Styled
from screens.widgets.text_lines import Hit, Line, folds, literal, pieces, plain

SIDEWAYS_CELLS = 16
MOVES = {"move_down", "move_up", "move_first", "move_last", "half_down", "half_up", "page_down", "page_up"}
"""Verbs of a table that move in a text as well."""


class Pager(ScrollView, Styled, can_focus=True):
    """Lines of text; the newest `limit` of them are kept.

    A line has a number that never changes: the place in sight, hits and strips hold on to it when old ones leave.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "pager--muted", "pager--warning", "pager--error", "pager--accent", "pager--history",
        "pager--title", "pager--added", "pager--removed", "pager--hit", "pager--here",
    }  # fmt: skip
    DEFAULT_CSS = """
    Pager {
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        & > .pager--muted { color: $text-muted; }
        & > .pager--warning { color: $text-warning; }
        & > .pager--error { color: $text-error; text-style: bold; }
        & > .pager--accent { color: $text-accent; text-style: bold; }
        & > .pager--history { color: $primary; }
        & > .pager--title { text-style: bold; }
        & > .pager--added { color: $text-success; }
        & > .pager--removed { color: $text-error; }
        & > .pager--hit { text-style: underline bold; }
        & > .pager--here { background: $block-cursor-background; color: $block-cursor-foreground; }
        &:nocolor > .pager--here { text-style: reverse; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(b for b in bindings("table") if isinstance(b, Binding) and b.action in MOVES),
        ("left", "sideways(-1)"),
        ("right", "sideways(1)"),
    ]

    wrap: reactive[bool] = reactive(False, repaint=False)
    """Long lines take several rows instead of leaving the screen on the right."""
    following: reactive[bool] = reactive(False, repaint=False)
    """The end stays in sight while lines arrive; scrolling up ends it."""
    found: reactive[tuple[int, int]] = reactive((0, 0), repaint=False)
    """Number of the hit shown, from 1, and how many there are."""

    def __init__(self, *, limit: int = 10_000, wrap: bool = False, hang: int = 0, id: str | None = None) -> None:
        """`hang` are the cells by which what is left of a long line is moved in, as far as there is room."""
        super().__init__(id=id)
        self._hang = hang
        self.set_reactive(Pager.wrap, wrap)
        self._limit = limit
        self._first = 0
        self._lines: list[Line] = []
        self._rows: list[tuple[int, int, int]] = []
        self._hits: list[tuple[int, int]] = []
        self._needle = ""
        self._pattern: re.Pattern[str] | None = None
        self._here = -1
        self._left = 0
        self._widest = 0
        self._strips: LRUCache[tuple[int, int, int], Strip] = LRUCache(1024)

    @property
    def needle(self) -> str:
        """What is searched for; empty when nothing is."""
        return self._needle

    @property
    def texts(self) -> Iterator[str]:
        """All lines as they are written, without their paint."""
        return map(plain, self._lines)

    def show(self, lines: Iterable[Line]) -> None:
        """Show these lines instead, from where the page stands now."""
        at = self.scroll_offset.y
        self._first, self._lines, self._rows, self._hits, self._here = 0, [], [], [], -1
        self._left = self._widest = 0
        self._strips.clear()
        self.extend(lines)
        if not self.following:
            self._show_from(at)

    def extend(self, lines: Iterable[Line]) -> None:
        """Add lines at the end; what is more than the limit leaves at the start, and the text in sight stands still."""
        number = self._first + len(self._lines)
        before = len(self._lines)
        self._lines.extend(lines)
        for line in islice(self._lines, before, None):
            text = plain(line)
            self._break(number, text)
            self._find(number, text)
            number += 1
        gone_rows = self._trim() if len(self._lines) > self._limit + self._limit // 10 else 0
        self._count_hits()
        self._resize_page()
        if self.following:
            self._show_from(self.max_scroll_y)
        elif gone_rows:
            self._show_from(max(0, self.scroll_offset.y - gone_rows))
        self.refresh()

    def _break(self, number: int, text: str) -> None:
        self._widest = max(self._widest, len(text) if text.isascii() else cell_len(text))
        if self.wrap:
            self._rows.extend((number, start, end) for start, end in folds(text, self._page_width, self._room_left))
        else:
            self._rows.append((number, 0, len(text)))

    def _find(self, number: int, text: str) -> None:
        if self._pattern:
            self._hits.extend((number, hit.start()) for hit in self._pattern.finditer(text))

    def _trim(self) -> int:
        """Drop the oldest lines; returns how many rows they took."""
        drop = len(self._lines) - self._limit
        del self._lines[:drop]
        self._first += drop
        rows = bisect_left(self._rows, (self._first, 0, 0))
        del self._rows[:rows]
        hits = bisect_left(self._hits, (self._first, 0))
        del self._hits[:hits]
        self._here = max(-1, self._here - hits)
        return rows

    def _show_from(self, row: int) -> None:
        """Scroll at once, also while the scrollbar that allows it is not laid out yet."""
        self.scroll_to(y=row, animate=False, force=True)

    @property
    def _page_width(self) -> int:
        return max(8, self.scrollable_content_region.width)

    @property
    def _room_left(self) -> int:
        return min(self._hang, self._page_width // 3)

    def _resize_page(self) -> None:
        if self.virtual_size.height != len(self._rows):
            self.virtual_size = Size(0, len(self._rows))

    def _lay_out(self) -> None:
        """Break all lines into rows again, with the first one in sight kept there."""
        top = self._rows[min(self.scroll_offset.y, len(self._rows) - 1)] if self._rows else (0, 0, 0)
        self._rows, self._widest = [], 0
        for number, line in enumerate(self._lines, self._first):
            self._break(number, plain(line))
        self._strips.clear()
        self._resize_page()
        row = self.max_scroll_y if self.following else bisect_left(self._rows, top[:2])
        self._show_from(row)
        self.refresh()

    def search(self, needle: str) -> None:
        """Mark all hits of `needle`, in any case, and show the first from here on; an empty one ends the search."""
        self._needle, self._hits, self._here = needle, [], -1
        self._pattern = literal(needle) if needle else None
        self._strips.clear()
        for number, line in enumerate(self._lines, self._first):
            self._find(number, plain(line))
        if self._hits:
            top = self._rows[min(self.scroll_offset.y, len(self._rows) - 1)]
            self._go_to_hit(bisect_left(self._hits, top[:2]) % len(self._hits))
        self._count_hits()
        self.refresh()

    def next_hit(self, step: int) -> None:
        """Show the next (1) or previous (-1) hit, round the ends."""
        if self._hits:
            self._go_to_hit((self._here + step) % len(self._hits))
            self._count_hits()

    def _go_to_hit(self, index: int) -> None:
        self._here = index
        number, start = self._hits[index]
        row = bisect_left(self._rows, (number, start + 1, 0)) - 1
        self.following = False
        top, page = self.scroll_offset.y, self.size.height
        if not top <= row < top + page:
            self._show_from(max(0, row - page // 2))
        if not self.wrap:
            before = cell_len(plain(self._lines[number - self._first])[:start])
            if not self._left <= before < self._left + self._page_width - len(self._needle):
                self._left = max(0, before - self._page_width // 2)
        self._strips.clear()
        self.refresh()

    def _count_hits(self) -> None:
        self.found = (self._here + 1, len(self._hits))

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        index = self.scroll_offset.y + y
        if index >= len(self._rows):
            return Strip.blank(width, self.look())
        row = self._rows[index]
        if (strip := self._strips.get(row)) is None:
            strip = self._strips[row] = self._strip(*row)
        return strip.crop_extend(self._left, self._left + width, self.look())

    def _strip(self, number: int, start: int, end: int) -> Strip:
        base = self.look()
        painted = [
            Segment(text, base + self._ink(paint) + self._ink(mark))
            for text, paint, mark in pieces(self._lines[number - self._first], start, end, self._hits_in(number))
        ]
        indent = self._room_left if start else 0
        return Strip([Segment(" " * indent, base), *painted] if indent else painted)

    def _hits_in(self, number: int) -> list[Hit]:
        low, high = bisect_left(self._hits, (number, 0)), bisect_left(self._hits, (number + 1, 0))
        length = len(self._needle)
        return [
            (start, start + length, "here" if index == self._here else "hit")
            for index, (_, start) in enumerate(self._hits[low:high], low)
        ]

    def _ink(self, name: str) -> Style:
        if not name:
            return Style()
        return self.look(f"pager--{name}", partial=name == "hit")  # the colour of a hit is that of its text

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()

    def on_resize(self, event: Resize) -> None:
        if self.wrap:
            self._lay_out()
        elif self.following:
            self._show_from(self.max_scroll_y)
        self.refresh()

    def watch_wrap(self) -> None:
        self._left = 0
        self._lay_out()

    def watch_following(self, following: bool) -> None:
        if following:
            self._show_from(self.max_scroll_y)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        self.following = False

    def _scroll_by(self, lines: int) -> None:
        if lines < 0:
            self.following = False
        self._show_from(self.scroll_offset.y + lines)

    @property
    def _page(self) -> int:
        return max(1, self.size.height - 1)

    def action_move_down(self) -> None:
        self._scroll_by(1)

    def action_move_up(self) -> None:
        self._scroll_by(-1)

    def action_half_down(self) -> None:
        self._scroll_by(max(1, self._page // 2))

    def action_half_up(self) -> None:
        self._scroll_by(-max(1, self._page // 2))

    def action_page_down(self) -> None:
        self._scroll_by(self._page)

    def action_page_up(self) -> None:
        self._scroll_by(-self._page)

    def action_move_first(self) -> None:
        self.following = False
        self._show_from(0)

    def action_move_last(self) -> None:
        self._show_from(self.max_scroll_y)

    def action_sideways(self, steps: int) -> None:
        if not self.wrap:
            furthest = max(0, self._widest - self._page_width + 1)
            self._left = min(max(0, self._left + steps * SIDEWAYS_CELLS), furthest)
            self.refresh()
