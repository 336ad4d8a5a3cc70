"""Lines in tones, composed anew for the size that there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.segment import Segment
from textual.events import Resize
from textual.geometry import Region, Size
from textual.strip import Strip

from screens.format import Spans
from screens.widgets.painted import Painted

Compose = Callable[[Size], Sequence[Spans]]


class Lines(Painted):
    """Draws what a function makes of its size; a line that stayed the same is not drawn again."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "lines--title", "lines--muted", "lines--warning", "lines--error", "lines--accent", "lines--history",
    }  # fmt: skip
    DEFAULT_CSS = """
    Lines {
        & > .lines--title { text-style: bold; }
        & > .lines--muted { color: $text-muted; }
        & > .lines--warning { color: $text-warning; }
        & > .lines--error { color: $text-error; text-style: bold; }
        & > .lines--accent { color: $text-accent; text-style: bold; }
        & > .lines--history { color: $primary; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._made_of: Compose = lambda size: ()
        self._lines: tuple[Spans, ...] = ()

    def show(self, compose: Compose) -> None:
        """Show what `compose` makes of the size, now and whenever the size changes."""
        self._made_of = compose
        before, self._lines = self._lines, tuple(compose(self.size))
        height, width = max(len(before), len(self._lines)), self.size.width
        if other := [y for y in range(height) if before[y : y + 1] != self._lines[y : y + 1]]:
            self.refresh(*(Region(0, y, width, 1) for y in other))

    def on_resize(self, event: Resize) -> None:
        """Compose for the new size and draw all again."""
        self._lines = tuple(self._made_of(event.size))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        spans = self._lines[y] if y < len(self._lines) else ()
        segments = [Segment(text, self.look(f"lines--{tone}") if tone else self.look()) for text, tone in spans]
        return Strip(segments).adjust_cell_length(self.size.width, self.look())
