"""Asking before something is done that cannot be undone, or that interrupts work."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Label

from screens.dialog import Dialog


class ConfirmDialog(Dialog[bool]):
    """Says what will happen to which target, and returns whether it shall.

    Where something is lost the answer is `y`, or the target's name typed; else `enter`, and `y` as well.
    """

    CSS_PATH = "confirm.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [("y", "agree('y')"), ("n", "leave"), ("enter", "agree('enter')")]

    def __init__(
        self, title: str, happens: str, *, verb: str, keep: str = "keep it", type_name: str = "", loses: bool = True
    ) -> None:
        self.answer = "enter" if type_name or not loses else "y"
        super().__init__(title, f"{self.answer} {verb}   esc {keep}", dangerous=loses)
        self.happens = happens
        self.verb = verb
        self.type_name = type_name

    def body(self) -> ComposeResult:
        yield Label(self.happens, id="happens", markup=False)
        if self.type_name:
            with Horizontal(id="typed"):
                yield Label(f"Type the name to {self.verb} it:  [", markup=False)
                yield Input(id="name", compact=True)
                yield Label("]", markup=False)

    def action_agree(self, key: str) -> None:
        if self.type_name:
            return
        if key == self.answer or not self.dangerous:
            self.dismiss(True)
        else:
            self.query_one("#happens", Label).update(f"{self.happens}\n{self.answer} does it, esc leaves it as it is.")

    @on(Input.Submitted)
    def compare(self, event: Input.Submitted) -> None:
        """Only the whole name will do."""
        if event.value.strip() == self.type_name:
            self.dismiss(True)
        else:
            self.query_one("#happens", Label).update(
                f'"{event.value.strip()}" is not {self.type_name}; nothing was done.'
            )
