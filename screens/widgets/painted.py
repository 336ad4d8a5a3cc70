"""What widgets that draw their own lines share."""

from __future__ import annotations

from typing import Any, Self

from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget


class Kept(Widget):
    """Keeps its finished lines until they are refreshed; has no border, padding, tint or opacity.

    For one line that differs Textual asks every widget for all of its lines, and each time works out what those four
    make of them: most of what a console that nobody uses would cost.
    """

    _kept: tuple[Size, dict[int, Strip]] | None = None
    """Lines by their number, for a size of the widget."""

    def refresh(self, *regions: Region, **what: Any) -> Self:
        """As Textual's: without regions all lines are drawn again."""
        if not regions:
            self._kept = None
        elif self._kept is not None:
            for y in (y for region in regions for y in region.line_range):
                self._kept[1].pop(y, None)
        return super().refresh(*regions, **what)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._kept = None

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines within `crop`, of which only those that are not kept are drawn."""
        size = self.outer_size
        if self._kept is None or self._kept[0] != size:
            self._kept = size, {}
        kept = self._kept[1]
        if missing := [y for y in crop.line_range if y not in kept]:
            filters, background = self.get_line_filters(), self.background_colors[1]
            for y in missing:
                kept[y] = self.render_line(y)
                for line_filter in filters:
                    kept[y] = kept[y].apply_filter(line_filter, background)
        strips = [kept[y] for y in crop.line_range]
        if crop.column_span != (0, size.width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        if self.auto_links and (link := self.hover_style.link_id):
            strips = [strip.style_links(link, self.link_style_hover) for strip in strips]
        return strips


class Styled(Widget):
    """Keeps resolved styles until the theme changes: every `refresh` empties Textual's own cache of them."""

    _look: dict[tuple[str, bool], Style] | None = None

    def look(self, component: str = "", *, partial: bool = False) -> Style:
        """The style of a component class, or of the widget itself; `partial` is without what is under it."""
        if self._look is None:
            self._look = {}
        if (kept := self._look.get((component, partial))) is None:
            kept = self.get_component_rich_style(component, partial=partial) if component else self.rich_style
            self._look[component, partial] = kept
        return kept

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._look = None


class Painted(Styled, Kept):
    """Keeps its finished lines and the styles that they are drawn in."""
