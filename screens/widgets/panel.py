"""The heading of a panel: a title, what it says, a rule, and what its keys are."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual.reactive import reactive
from textual.strip import Strip

from screens.format import Spans, Tone, fit
from screens.widgets.painted import Painted

LEAST_RULE_CELLS = 3


def heading(title: str, text: str, right: str, width: int, tone: Tone = "") -> Spans:
    """One line of `width` cells, one free on the left and two on the right; a text too long loses its end."""
    ends = len(title) + 1 + 2 + (cell_len(right) + 1 if right else 0)
    room = width - ends - 3 - LEAST_RULE_CELLS
    said = f"  {fit(text, min(cell_len(text), max(0, room)))}" if text else ""
    rule = "─" * max(0, width - ends - cell_len(said) - 1)
    return ((f" {title}", "title"), (said, tone), (f" {rule}", "muted"), (f" {right}" if right else "", "muted"))


class Heading(Painted):
    """A panel's heading as a line of its own."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "heading--title", "heading--muted", "heading--warning", "heading--error"
    }  # fmt: skip
    DEFAULT_CSS = """
    Heading {
        height: 1;
        & > .heading--title { text-style: bold; }
        & > .heading--muted { color: $text-muted; }
        & > .heading--warning { color: $text-warning; }
        & > .heading--error { color: $text-error; text-style: bold; }
    }
    """

    line: reactive[tuple[str, str, str, Tone]] = reactive(("", "", "", ""))

    def __init__(self, title: str = "", text: str = "", right: str = "", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.say(title, text, right)

    def say(self, title: str, text: str = "", right: str = "", tone: Tone = "") -> None:
        """Show `title  text ──── right`."""
        self.line = (title, text, right, tone)

    def render_line(self, y: int) -> Strip:
        title, text, right, tone = self.line
        spans = heading(title, text, right, self.size.width, tone)
        styled = [Segment(part, self.look(f"heading--{look}") if look else self.look()) for part, look in spans]
        return Strip(styled).adjust_cell_length(self.size.width, self.look())
