"""Choosing what a new model starts from."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Label

from screens.dialog import Dialog
from screens.templates import TEMPLATES, Template


class AddDialog(Dialog[Template]):
    """Offers templates by their letter; the editor opens with the chosen one, and nothing is stored before its diff."""

    CSS_PATH = "add.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [(template.key, f"choose('{template.key}')") for template in TEMPLATES]

    def __init__(self) -> None:
        super().__init__("Add a model", "esc cancel")

    def body(self) -> ComposeResult:
        lines = (f"{template.key}    {template.title:12} {template.hint}" for template in TEMPLATES)
        yield Label("\n".join((*lines, "\nThe editor opens with it; nothing is stored before you see the change.\n")),
                    id="templates", markup=False)  # fmt: skip

    def action_choose(self, key: str) -> None:
        self.dismiss(next(template for template in TEMPLATES if template.key == key))
