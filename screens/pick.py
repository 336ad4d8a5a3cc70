"""Choosing one of several models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual import on
from textual.app import ComposeResult

from operator_embed.fleet.models import ModelView
from screens.dialog import Dialog
from screens.tones import model_mark, model_tone, model_word
from screens.widgets.columns import Column
from screens.widgets.table import Table


def columns(names: Mapping[str, str]) -> Sequence[Column[ModelView]]:
    """With what each model is called, by its key."""
    return (
        Column("", 1, lambda m, _: model_mark(m), tone=model_tone, gap=0),
        Column("NAME", 24, lambda m, _: names[m.key], middle=True, grow=True),
        Column("READY", 5, lambda m, _: f"{m.ready}/{m.desired}", right=True),
        Column("STATE", 9, lambda m, _: model_word(m), tone=model_tone),
    )


class PickDialog(Dialog[str]):
    """Returns the key of the chosen model."""

    CSS_PATH = "pick.tcss"

    def __init__(self, title: str, models: Sequence[ModelView], names: Mapping[str, str]) -> None:
        super().__init__(title, "enter choose   esc cancel")
        self.models = models
        self.names = names

    def body(self) -> ComposeResult:
        yield Table(columns(self.names), id="models", noun="model", sort="NAME")

    def on_mount(self) -> None:
        table = self.query_one(Table)
        table.styles.height = min(12, len(self.models) + 1)
        table.show(self.models, 0.0)
        table.focus()

    @on(Table.Opened)
    def take(self, event: Table.Opened) -> None:
        self.dismiss(event.key)
