"""Choosing what a new model starts from."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Label

from screens.dialog import Dialog
from screens.templates import Template, templates


class AddDialog(Dialog[Template]):
    """Offers templates by their letter; the editor opens with the chosen one, and nothing is stored before its diff."""

    CSS_PATH = "add.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        (template.key, f"choose('{template.key}')") for template in templates(None)
    ]

    def __init__(self, sample: Path | None) -> None:
        """`sample` is where the weights of the sample are, if they are on this machine."""
        super().__init__("Add a model", "esc cancel")
        self.templates = templates(sample)

    def body(self) -> ComposeResult:
        lines = (f"{template.key}    {template.title:12} {template.hint}" for template in self.templates)
        yield Label("\n".join((*lines, "\nThe editor opens with it; nothing is stored before you see the change.\n")),
                    id="templates", markup=False)  # fmt: skip

    def action_choose(self, key: str) -> None:
        self.dismiss(next(template for template in self.templates if template.key == key))
