"""The same rows in our table and in Textual's `DataTable`, to be measured side by side.

`python -m tests.bench.table_apps ours|stock SHARE` runs on its terminal; twice a second that share of 100 rows changes.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from textual._compositor import CompositorUpdate
from textual.app import App, ComposeResult
from textual.coordinate import Coordinate
from textual.screen import Screen
from textual.widgets import DataTable

from operator_embed.fleet.models import ModelView
from screens.model_columns import FIELDS, ON_GPUS
from screens.widgets.columns import Column
from screens.widgets.table import Table
from tests.fleet import NOW_S, model

LIVE_ROWS = 100
PERIOD_S = 0.5
STATES = 64
"""Sets of rows that take turns, made beforehand, and more than come up while it is measured: each line is a new one."""
COLUMNS: Sequence[Column[ModelView]] = [column for column in ON_GPUS if not column.ticks]
"""The stock table has no columns that change with the clock alone."""


def invented(count: int) -> tuple[ModelView, ...]:
    """Models with figures of their own."""
    return tuple(changed(model(f"model-{n:05}", version=n, on_gpu=True), n) for n in range(count))


def changed(row: ModelView, seed: int) -> ModelView:
    """The row with other figures."""
    shape = tuple(float((seed * 7 + place * seed) % 13) for place in range(16))
    return replace(
        row,
        version=row.version + 1,
        backlog=seed * 37 % 500,
        in_flight=seed % 16,
        oldest_s=float(seed * 11 % 90),
        backlog_2min=shape,
        req_s=seed * 13 % 400 / 10,
        tok_s=float(seed * 17 % 2_000),
        busy_pct=float(seed * 19 % 100),
        trend=seed % 3 - 1,
    )


def turns(rows: tuple[ModelView, ...], share: float) -> Sequence[tuple[ModelView, ...]]:
    """Sets of rows, each with `share` of them changed against the one before."""
    every, sets = round(1 / share), [rows]
    for turn in range(1, STATES):
        sets.append(
            tuple(changed(row, n + turn * 31) if (n + turn) % every == 0 else row for n, row in enumerate(sets[-1]))
        )
    return sets


def texts(row: ModelView) -> list[str]:
    """What stands in the cells of a row."""
    return [column.text(row, NOW_S) for column in COLUMNS]


class TableApp(App[None]):
    """A table and nothing else; notes when the newest frame was complete, up to the bytes that a terminal would get."""

    painted_s = 0.0
    """CPU time of this process then."""

    def load(self, rows: Sequence[ModelView]) -> None:
        """Show rows for the first time."""
        raise NotImplementedError

    def update(self, before: Sequence[ModelView], rows: Sequence[ModelView]) -> None:
        """Show what is shown as `before` with other figures."""
        raise NotImplementedError

    def _display(self, screen: Screen[object], renderable: Any) -> None:
        if self.is_headless and isinstance(renderable, CompositorUpdate):
            renderable.render_segments(self.console)
        super()._display(screen, renderable)
        self.painted_s = time.process_time()


class Ours(TableApp):
    """Our table, as the main screen sets it up."""

    def compose(self) -> ComposeResult:
        self.table: Table[ModelView] = Table(COLUMNS, noun="model", fields=FIELDS, sort="NAME")
        yield self.table

    def load(self, rows: Sequence[ModelView]) -> None:
        self.table.show(rows, NOW_S)

    def update(self, before: Sequence[ModelView], rows: Sequence[ModelView]) -> None:
        self.table.show(rows, NOW_S)


class Stock(TableApp):
    """Textual's table; of rows that change only cells that differ are written."""

    def compose(self) -> ComposeResult:
        self.table: DataTable[str] = DataTable(cursor_type="row")
        yield self.table

    def on_mount(self) -> None:
        for column in COLUMNS:
            self.table.add_column(column.title, width=column.width)

    def load(self, rows: Sequence[ModelView]) -> None:
        self.table.add_rows(map(texts, rows))

    def update(self, before: Sequence[ModelView], rows: Sequence[ModelView]) -> None:
        for y, (old, new) in enumerate(zip(before, rows, strict=True)):
            if old is not new:
                for x, (was, now) in enumerate(zip(texts(old), texts(new), strict=True)):
                    if was != now:
                        self.table.update_cell_at(Coordinate(y, x), now)


def live(app: TableApp, share: float) -> None:
    """Run on this terminal until SIGTERM."""
    sets = turns(invented(LIVE_ROWS), share)
    order = itertools.cycle(zip(sets, [*sets[1:], sets[0]], strict=True))
    app.call_later(app.load, sets[0])
    app.call_later(app.set_interval, PERIOD_S, lambda: app.update(*next(order)))
    app.run()


if __name__ == "__main__":
    live(Ours() if sys.argv[1] == "ours" else Stock(), float(sys.argv[2]))
