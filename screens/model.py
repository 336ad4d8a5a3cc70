"""One model: why it is as it is, what it did, its replicas, conditions and events."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Label

from operator_embed.fleet.fleet import Fleet
from operator_embed.fleet.models import ModelView
from screens.actions import Hint, Scope, bindings
from screens.detail_text import event_detail, replica_detail
from screens.event_columns import OF_MODEL
from screens.model_actions import ModelActions
from screens.model_text import api_line, conditions, graphs, model_head, why_text
from screens.replica_columns import REPLICAS
from screens.widgets.head import Fields
from screens.widgets.lines import Lines
from screens.widgets.panel import Heading
from screens.widgets.spans import content
from screens.widgets.table import Table

ALREADY_HERE = frozenset({"describe", "why"})


class ModelScreen(ModelActions):
    """All about one model; it stays when the model is deleted, for the sake of its events."""

    CSS_PATH = "model.tcss"
    SCOPES: ClassVar[tuple[Scope, ...]] = ("model",)
    BINDINGS: ClassVar[list[BindingType]] = bindings("model")
    HINTS: ClassVar[Sequence[Hint]] = (
        Hint("everywhere.back"),
        Hint("model.yaml"),
        Hint("model.scale"),
        Hint("model.edit"),
        Hint("model.logs"),
        Hint("model.test"),
        Hint("model.queue"),
        Hint("model.previous_logs"),
        Hint("model.restart"),
        Hint("model.delete"),
        Hint("everywhere.allow_changes"),
        Hint("everywhere.help"),
    )

    replicas = getters.query_one("#replicas", Table)
    events = getters.query_one("#events", Table)

    def __init__(self, fleet: Fleet, key: str) -> None:
        super().__init__(fleet)
        self.key = key

    def body(self) -> ComposeResult:
        yield Label(id="api", markup=False)
        yield Label(id="why", markup=False)
        yield Lines(id="graphs")
        yield Heading("Replicas", id="replicas-head")
        yield Table(
            REPLICAS,
            id="replicas",
            noun="replica",
            detail=lambda replica, size: replica_detail(self.view, replica, size),
        )
        yield Lines(id="conditions")
        yield Table(
            OF_MODEL,
            id="events",
            noun="event",
            copies=lambda e: f"{e.reason} {e.source}: {e.message}",
            detail=lambda event, size: event_detail(self.view, event, size),
        )

    @property
    def model(self) -> ModelView | None:
        """The model as it is now; `None` once it is gone."""
        return next((m for m in self.view.models if m.key == self.key), None)

    def chosen_models(self) -> Sequence[ModelView]:
        return [self.model] if self.model else []

    async def as_objects(self) -> object:
        return next(iter(await self.objects_of([self.key])), None)

    def totals(self, wide: bool) -> Fields:
        return model_head(self.model, self.key.partition("/")[2], self.view.at_s, wide)

    def draw(self) -> None:
        view, model = self.view, self.model
        replicas = [r for r in view.replicas if r.model == self.key]
        queue = next((q for q in view.queues if model and q.key == model.topic), None)
        self.query_one("#api", Label).update(content([api_line(model, self.fleet.requests.base_url)]))
        self.query_one("#why", Label).update(content([why_text(model)]))
        self.query_one("#graphs", Lines).show(partial(graphs, model, queue, self.history))
        ready = f"{model.ready} ready, {model.desired} wanted" if model else "none"
        self.query_one("#replicas-head", Heading).say("Replicas", ready, "enter logs" if replicas else "")
        self.replicas.show(replicas, view.at_s)
        self.query_one("#conditions", Lines).show(partial(conditions, model, view.at_s))
        events = [event for event in view.events if event.model == self.key]
        self.events.head = ("Events", "last 7 days" if events else "none in the last 7 days", "5 all events")
        self.events.show(events, view.at_s)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action not in ALREADY_HERE and super().check_action(action, parameters)

    @on(Table.Opened, "#replicas")
    def open_logs(self, event: Table.Opened) -> None:
        from screens.logs import LogsScreen

        self.app.push_screen(LogsScreen(self.fleet, self.key, replica=event.key))
