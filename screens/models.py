"""The main screen: one row a model, what the box does, what is wrong."""

from __future__ import annotations

from textual import getters
from textual.app import ComposeResult

from operator_embed.fleet.models import ModelView
from screens.base import FleetScreen
from screens.widgets.columns import Column
from screens.widgets.table import Table

COLUMNS: tuple[Column[ModelView], ...] = (Column("NAME", 20, lambda m, _: m.name, grow=True),)


class ModelsScreen(FleetScreen):
    """One row a model."""

    table = getters.query_one("#models", Table)

    def body(self) -> ComposeResult:
        yield Table(COLUMNS, id="models")

    def draw(self) -> None:
        self.table.show(self.view.models, self.view.at_s)
