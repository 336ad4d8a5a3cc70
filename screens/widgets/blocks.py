"""Things of several lines below each other, with a cursor, scrolled by whole blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual.events import Click, Resize
from textual.geometry import Size
from textual.message import Message
from textual.reactive import var
from textual.strip import Strip

from screens.format import Spans
from screens.widgets.painted import Painted

Compose = Callable[[str, bool, int], Sequence[Spans]]
"""Lines of a block, by its key, whether the cursor is on it, and the width."""


class Blocks(Painted, can_focus=True):
    """Draws the blocks that fit, the one under the cursor among them."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "blocks--cursor", "blocks--title", "blocks--muted", "blocks--warning", "blocks--error", "blocks--accent",
        "blocks--history",
    }  # fmt: skip
    DEFAULT_CSS = """
    Blocks {
        height: auto;
        & > .blocks--cursor { background: $block-cursor-blurred-background; }
        &:focus > .blocks--cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
        &:nocolor > .blocks--cursor { text-style: reverse; }
        & > .blocks--title { text-style: bold; }
        & > .blocks--muted { color: $text-muted; }
        & > .blocks--warning { color: $text-warning; }
        & > .blocks--error { color: $text-error; text-style: bold; }
        & > .blocks--accent { color: $accent; }
        & > .blocks--history { color: $primary; }
    }
    """

    cursor: var[str] = var("")

    @dataclass
    class Moved(Message):
        """The cursor is on another block."""

        key: str

    def __init__(self, *, id: str | None = None, detail: Callable[[str, Size], Sequence[Spans]] | None = None) -> None:
        """`detail` is what a pane of some size says of the block with a key."""
        super().__init__(id=id)
        self.detail = detail
        self._keys: tuple[str, ...] = ()
        self._made_of: Compose = lambda key, here, width: ()
        self._first = 0
        self._shown: tuple[tuple[str, Spans, bool], ...] = ()
        self._lines_needed = 0

    def show(self, keys: Sequence[str], compose: Compose) -> None:
        """Show a block for each key; the cursor stays on its key."""
        self._keys, self._made_of = tuple(keys), compose
        if self.cursor not in self._keys:
            self.cursor = self._keys[0] if self._keys else ""
        self._draw(self.size)

    def move(self, blocks: int) -> None:
        """Move the cursor by some blocks."""
        if self._keys:
            index = min(max(self._keys.index(self.cursor) + blocks, 0), len(self._keys) - 1)
            self.cursor = self._keys[index]

    def said_of_cursor(self, size: Size) -> Sequence[Spans]:
        """What a pane of this size says of the block under the cursor."""
        return self.detail(self.cursor, size) if self.detail and self.cursor else ()

    def watch_cursor(self) -> None:
        self._draw(self.size)
        self.post_message(self.Moved(self.cursor))

    def on_resize(self, event: Resize) -> None:
        """Compose for the new size."""
        self._draw(event.size)

    def on_click(self, event: Click) -> None:
        """A click selects."""
        if event.y < len(self._shown):
            self.cursor = self._shown[event.y][0]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return sum(len(self._made_of(key, False, width)) for key in self._keys)

    def _draw(self, size: Size) -> None:
        blocks = [
            [
                (key, line, key == self.cursor and not i)
                for i, line in enumerate(self._made_of(key, key == self.cursor, size.width))
            ]
            for key in self._keys
        ]
        index = self._keys.index(self.cursor) if self.cursor in self._keys else 0
        self._first = min(self._first, index)
        while self._first < index and sum(map(len, blocks[self._first : index + 1])) > size.height:
            self._first += 1
        shown = tuple(line for block in blocks[self._first :] for line in block)
        needed = sum(map(len, blocks))
        if shown != self._shown or needed != self._lines_needed:
            self.refresh(layout=needed != self._lines_needed)
            self._shown, self._lines_needed = shown, needed

    def render_line(self, y: int) -> Strip:
        _, spans, here = self._shown[y] if y < len(self._shown) else ("", (), False)
        base = self.look("blocks--cursor") if here else self.look()
        segments = [Segment(text, base if here or not tone else self.look(f"blocks--{tone}")) for text, tone in spans]
        return Strip(segments).adjust_cell_length(self.size.width, base)
