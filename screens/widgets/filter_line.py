"""The line in which a table's filter is typed; it stays while the filter is in force."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Label

from screens.widgets.filter import FilterError
from screens.widgets.table import Table


class FilterLine(Horizontal):
    """Filters its table at every key; a text that is no filter yet leaves the rows as they are and says why."""

    DEFAULT_CSS = """
    FilterLine {
        height: 1;
        padding: 0 1;
        & > Label { width: auto; max-width: 70%; color: $text-muted; }
        & > Input { width: 1fr; height: 1; border: none; padding: 0; background: transparent; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "drop"), ("down,tab", "keep")]

    def __init__(self, table: Table[Any]) -> None:
        super().__init__()
        self.table = table

    def compose(self) -> ComposeResult:
        yield Label("/ ")
        yield Input(self.table.arrangement.filter_text, compact=True)
        yield Label("", id="matches", markup=False)

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    @on(Input.Changed)
    def narrow(self, event: Input.Changed) -> None:
        """Apply what is typed so far."""
        try:
            self.table.filter_by(event.value)
            said = f"{len(self.table.rows)} shown   enter keep   esc show all"
        except FilterError as problem:
            said = str(problem)
        self.query_one("#matches", Label).update(said)

    @on(Input.Submitted)
    def action_keep(self) -> None:
        """Go back to the rows; without a filter the line goes."""
        self.table.focus()
        if not self.table.arrangement.filter_text:
            self.remove()

    def action_drop(self) -> None:
        """Show all rows again."""
        self.table.filter_by("")
        self.table.focus()
        self.remove()
