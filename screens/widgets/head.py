"""The two lines on top of every screen: views and context, then what the screen is about in figures."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.events import Resize
from textual.geometry import Region
from textual.strip import Strip

from screens.format import Spans, Tone
from screens.widgets.painted import Painted

WIDE_CELLS = 120
NORMAL_CELLS = 80
Fields = tuple[tuple[int, Spans], ...]
"""Parts of a line, each from a column of the screen on; a long one pushes the next by at least one cell."""
Tab = tuple[str, str, str]
"""Key, title and the app's action of one view."""


@lru_cache
def tabs_line(tabs: tuple[Tab, ...], active: str, width: int) -> tuple[tuple[str, str], ...]:
    """`[1 Models]  2 Replicas `: texts with their actions, keys alone where it is narrow; `active` is an action."""
    gap = " " if width >= WIDE_CELLS else ""
    titled = width >= NORMAL_CELLS
    return tuple(
        (f"[{key} {title}]{gap}" if action == active else f" {key} {title} {gap}" if titled else f" {key} ", action)
        for key, title, action in tabs
    )


@lru_cache
def link(action: str) -> Style:
    """Runs an action of the app when it is clicked; always the same, so that the one under the mouse stays lit."""
    return Style.from_meta({"@click": f"app.{action}"})


def placed(fields: Fields, width: int) -> Spans:
    """Fields at their columns, within `width` cells."""
    spans: list[tuple[str, Tone]] = []
    end = 0
    for column, field in fields:
        cells = sum(cell_len(text) for text, _ in field)
        gap = max(column - end, 1 if end else 0)
        if end + gap + cells > width:
            break
        if cells:
            spans += [(" " * gap, ""), *field]
            end += gap + cells
    return tuple(spans)


class Head(Painted):
    """Drawn when what it says differs."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "head--muted", "head--title", "head--accent", "head--warning", "head--error",
        "head--trouble-warning", "head--trouble-error",
    }  # fmt: skip
    DEFAULT_CSS = """
    Head {
        height: 2;
        background: $panel;
        & > .head--muted { color: $text-muted; }
        & > .head--title { text-style: bold; }
        & > .head--accent { color: $text-accent; text-style: bold; }
        & > .head--warning { color: $text-warning; }
        & > .head--error { color: $text-error; text-style: bold; }
        & > .head--trouble-warning { color: $text-warning; text-style: reverse; }
        & > .head--trouble-error { color: $text-error; text-style: reverse bold; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._tabs: tuple[Tab, ...] = ()
        self._active = ""
        self._right: Callable[[bool], Spans] = lambda wide: ()
        self._fields: Callable[[bool], Fields] = lambda wide: ()
        self._lines: tuple[tuple[tuple[str, str], ...], Spans, Spans] = ((), (), ())

    def show(
        self, tabs: tuple[Tab, ...], active: str, right: Callable[[bool], Spans], fields: Callable[[bool], Fields]
    ) -> None:
        """Views with `active` framed, the right end of that line, and the second line, for a wide or narrow screen."""
        self._tabs, self._active, self._right, self._fields = tabs, active, right, fields
        self._refresh_if_other()

    def on_resize(self, event: Resize) -> None:
        """Another width has other words."""
        self._refresh_if_other()

    def _refresh_if_other(self) -> None:
        width = self.size.width
        wide = width >= WIDE_CELLS
        lines = (tabs_line(self._tabs, self._active, width), self._right(wide), placed(self._fields(wide), width))
        before, self._lines = self._lines, lines
        if other := [y for y, same in enumerate((before[:2] == lines[:2], before[2] == lines[2])) if not same]:
            self.refresh(*(Region(0, y, width, 1) for y in other))

    def render_line(self, y: int) -> Strip:
        tabs, right, fields = self._lines
        base = self.look()
        if y == 1:
            return self._filled([Segment(text, self._style(tone)) for text, tone in fields])
        left = [Segment(text, base + link(action)) for text, action in tabs]
        room = self.size.width - sum(cell_len(text) for text, _ in tabs) - sum(cell_len(text) for text, _ in right) - 1
        between = Segment(" " * max(0, room), base)
        return self._filled([*left, between, *(self._trouble(text, tone) for text, tone in right)])

    def _filled(self, segments: list[Segment]) -> Strip:
        return Strip(segments).adjust_cell_length(self.size.width, self.look())

    def _trouble(self, text: str, tone: Tone) -> Segment:
        return Segment(text, self._style(f"trouble-{tone}" if tone in {"error", "warning"} else tone))

    def _style(self, tone: str) -> Style:
        return self.look(f"head--{tone}" if tone else "")
