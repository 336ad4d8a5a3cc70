"""The line in which a pager is searched; it stays while something is searched for."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Label

from screens.widgets.pager import Pager


class SearchLine(Horizontal):
    """Goes to the first hit at every key; enter goes back to the text, escape ends the search."""

    DEFAULT_CSS = """
    SearchLine {
        height: 1;
        padding: 0 1;
        & > Label { width: auto; color: $text-muted; }
        & > Input { width: 1fr; height: 1; border: none; padding: 0; background: transparent; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "drop"), ("down,tab", "keep")]

    def __init__(self, pager: Pager) -> None:
        super().__init__()
        self.pager = pager

    def compose(self) -> ComposeResult:
        yield Label("/ ")
        yield Input(self.pager.needle, compact=True)
        yield Label("", id="hits", markup=False)

    def on_mount(self) -> None:
        self.query_one(Input).focus()
        self.watch(self.pager, "found", self.count)

    def count(self, found: tuple[int, int]) -> None:
        """Say which hit is shown, and of how many."""
        here, hits = found
        said = f"{here or '-'} of {hits}" if hits else "not found" if self.pager.needle else ""
        self.query_one("#hits", Label).update(said)

    @on(Input.Changed)
    def search(self, event: Input.Changed) -> None:
        self.pager.search(event.value)
        self.count(self.pager.found)

    @on(Input.Submitted)
    def action_keep(self) -> None:
        """Go back to the text; with nothing searched for the line goes."""
        self.pager.focus()
        if not self.pager.needle:
            self.remove()

    def action_drop(self) -> None:
        """Mark nothing any more."""
        self.pager.search("")
        self.pager.focus()
        self.remove()
