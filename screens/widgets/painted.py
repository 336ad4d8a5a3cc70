"""What widgets that draw their own lines share."""

from __future__ import annotations

from rich.style import Style
from textual.widget import Widget


class Painted(Widget):
    """Keeps resolved styles until the theme changes: every `refresh` empties Textual's own cache of them."""

    _look: dict[str, Style] | None = None

    def look(self, component: str = "") -> Style:
        """The style of a component class, or of the widget itself."""
        if self._look is None:
            self._look = {}
        if component not in self._look:
            self._look[component] = self.get_component_rich_style(component) if component else self.rich_style
        return self._look[component]

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._look = None
