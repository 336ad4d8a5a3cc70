"""What is sent beside the questions of a chat."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.validation import Number
from textual.widgets import Input, Label

from screens.chat_text import Settings
from screens.dialog import Dialog


class ChatSettingsDialog(Dialog[Settings]):
    """Asks for system prompt and temperature; an empty temperature leaves it to the model."""

    CSS_PATH = "chat_settings.tcss"

    def __init__(self, settings: Settings) -> None:
        super().__init__("Chat settings", "tab next field   enter apply   esc cancel")
        self.settings = settings

    def body(self) -> ComposeResult:
        temperature = self.settings.temperature
        with Horizontal(classes="field"):
            yield Label("system prompt [ ", markup=False)
            yield Input(self.settings.system, id="system", compact=True)
            yield Label("]", markup=False)
        with Horizontal(classes="field"):
            yield Label("temperature   [ ", markup=False)
            yield Input(
                "" if temperature is None else f"{temperature:g}",
                id="temperature",
                type="number",
                validators=[Number(0, 2, failure_description="0 to 2, or empty")],
                valid_empty=True,
                compact=True,
            )
            yield Label("]  0 to 2; empty: the model's own", markup=False)

    @on(Input.Submitted)
    def apply(self) -> None:
        """Take both fields, when they make sense."""
        temperature = self.query_one("#temperature", Input)
        if temperature.is_valid:
            system = self.query_one("#system", Input).value.strip()
            self.dismiss(Settings(system=system, temperature=float(temperature.value) if temperature.value else None))
