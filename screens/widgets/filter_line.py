"""The line that says what a table leaves out: the filter as it is typed, or that only marked rows are shown."""

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
        self.problem = ""

    def compose(self) -> ComposeResult:
        yield Label("/ ")
        yield Input(self.table.arrangement.filter_text, compact=True)
        yield Label("", id="matches", markup=False)

    def on_mount(self) -> None:
        self.query_one(Input).focus()
        self.watch(self.table, "shown", self.say)

    @on(Input.Changed)
    def narrow(self, event: Input.Changed) -> None:
        """Apply what is typed so far."""
        self.problem = ""
        try:
            self.table.filter_by(event.value)
        except FilterError as problem:
            self.problem = str(problem)
        self.say()

    def say(self) -> None:
        """How many rows match now, or why the text is no filter."""
        said = f"{said_shown(self.table)}   enter keep   esc show all"
        self.query_one("#matches", Label).update(self.problem or said)

    @on(Input.Submitted)
    def action_keep(self) -> None:
        """Go back to the rows; without a filter the line goes."""
        self.table.focus()
        if not self.table.arrangement.filter_text:
            self.table.post_message(Table.Filtering(self.table, wanted=False))

    def action_drop(self) -> None:
        """Show all rows again."""
        self.table.show_all()
        self.table.focus()


class FaultsLine(Label):
    """Says that a table shows only the rows that carry a mark."""

    DEFAULT_CSS = "FaultsLine { padding: 0 1; color: $text-muted; }"

    def __init__(self, table: Table[Any]) -> None:
        super().__init__(markup=False)
        self.table = table

    def on_mount(self) -> None:
        self.watch(self.table, "shown", self.say)

    def say(self) -> None:
        """How many rows there are to see."""
        self.update(f"! {said_shown(self.table)}   esc show all")


def said_shown(table: Table[Any]) -> str:
    """`3 shown`, `2 with a mark shown`."""
    rows, only_faults = table.shown
    return f"{rows} with a mark shown" if only_faults else f"{rows} shown"
