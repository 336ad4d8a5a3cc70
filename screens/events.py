"""What happened in the last seven days, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.reactive import reactive

from screens.actions import Hint, Scope, bindings
from screens.base import ALWAYS, FleetScreen
from screens.detail_text import event_detail
from screens.event_columns import ALL_BY_AGE, ALL_BY_TIME, event_object
from screens.format import Spans, plural
from screens.tones import event_mark
from screens.widgets.head import Fields
from screens.widgets.table import Table


class EventsScreen(FleetScreen):
    """One row a thing that happened; the same again raises its count."""

    CSS_PATH = "events.tcss"
    SCOPES: ClassVar[tuple[Scope, ...]] = ("event",)
    BINDINGS: ClassVar[list[BindingType]] = bindings("event")
    HINTS: ClassVar[Sequence[Hint]] = (
        Hint("table.open", wide="open its model"),
        Hint("event.clock"),
        Hint("table.only_faults"),
        *ALWAYS,
    )

    by_clock: reactive[bool] = reactive(False)
    table = getters.query_one("#events", Table)

    def body(self) -> ComposeResult:
        yield Table(
            ALL_BY_AGE,
            id="events",
            noun="event",
            fields={"source": lambda e: e.source, "model": lambda e: e.model, "count": lambda e: e.count},
            copies=lambda e: f"{e.reason} {e.source}: {e.message}",
            detail=lambda event, size: event_detail(self.view, event, size),
        )

    async def as_objects(self) -> object:
        return [event_object(event) for event in self.table.rows]

    def totals(self, wide: bool) -> Fields:
        events = self.view.events
        marks = [event_mark(event) for event in events]
        severe: Spans = ((f"   ! {marks.count('!')}", "error"),) if "!" in marks else ()
        warning: Spans = ((f"   ~ {marks.count('~')}", "warning"),) if "~" in marks else ()
        return ((1, ((plural(len(events), "event"), ""), *severe, *warning)), (0, (("  last 7 days", "muted"),)))

    def draw(self) -> None:
        self.table.note = "Nothing happened in the last seven days."
        self.table.show(self.view.events, self.view.at_s)

    def watch_by_clock(self) -> None:
        if self.is_mounted:
            self.table.use(ALL_BY_TIME if self.by_clock else ALL_BY_AGE)

    def action_clock(self) -> None:
        self.by_clock = not self.by_clock

    @on(Table.Opened)
    def open_model(self, event: Table.Opened) -> None:
        """Show the model that it happened to, if it is still there."""
        happened = next((e for e in self.view.events if e.key == event.key), None)
        if happened and any(m.key == happened.model for m in self.view.models):
            self.app.open_model(happened.model)
