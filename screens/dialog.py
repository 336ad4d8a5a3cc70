"""What all dialogs share: a box in the middle, its title in the border, its keys in the last line."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Label

R = TypeVar("R")

WIDTHS = [(0, "-narrow"), (80, "-normal"), (120, "-wide")]
"""Least width in cells of each class of screens, as all screens have it."""


class Dialog(ModalScreen[R | None]):
    """Asks one thing and returns the answer; `None` leaves everything as it is."""

    DEFAULT_CSS = """
    Dialog {
        align: center middle;
        & > #box {
            width: 72;
            max-width: 100%;
            height: auto;
            max-height: 100%;
            padding: 0 1;
            background: $surface;
            border: round $primary;
            border-title-color: $foreground;
            border-title-style: bold;
            scrollbar-size-vertical: 1;
            & > .keys { width: 1fr; text-align: right; color: $text-muted; }
        }
        &.-dangerous > #box { border: round $error; }
        Input {
            width: 8;
            border: none;
            height: 1;
            padding: 0;
            background: $surface-lighten-1;
            &:focus { border: none; background-tint: $foreground 10%; }
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "leave", "leave it as it is")]
    HORIZONTAL_BREAKPOINTS = WIDTHS

    def __init__(self, title: str, keys: str, *, dangerous: bool = False) -> None:
        super().__init__()
        self.box_title = title
        self.keys = keys
        self.dangerous = dangerous
        self.set_class(dangerous, "-dangerous")

    def body(self) -> ComposeResult:
        """What stands between title and keys."""
        yield from ()

    def key_line(self) -> str:
        """What can be pressed, in the width that there is."""
        return self.keys

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="box", can_focus=False) as box:
            box.border_title = Text(self.box_title)
            yield from self.body()
            yield Label(self.key_line(), classes="keys", markup=False)

    def action_leave(self) -> None:
        self.dismiss(None)
