"""The main screen: one row a model, what they run on, what is wrong now."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size

from operator_embed.fleet.fleet import FailureView, FleetView
from operator_embed.fleet.models import ModelView
from screens.actions import ACTIONS, Hint, Scope, bindings
from screens.base import ALWAYS
from screens.box_panel import box_lines
from screens.first_run import first_run
from screens.format import Spans
from screens.model_actions import ModelActions
from screens.model_columns import FAILURES, FIELDS, ON_GPUS, columns_for, totals
from screens.widgets.head import Fields
from screens.widgets.hints import Hints
from screens.widgets.lines import Lines
from screens.widgets.table import Table

LOADING = frozenset({"", "loading"})
NO_LEADER = "NO LEADER"
ROW_VERBS = frozenset(action.verb for action in ACTIONS if action.scope == "model") - {"add"}


def failures_head(view: FleetView) -> tuple[str, str, str]:
    """Heading of the failures; without a leader also what that means."""
    now = len(view.failures)
    said = f"{now} now" if now else "none now"
    if view.context.headline == NO_LEADER:
        said += "   no leader: requests are answered, nothing is restarted or scaled: :start, or uplion serve"
    return "Failures", said, "worst first" if now else ""


class ModelsScreen(ModelActions):
    """One row a model."""

    CSS_PATH = "models.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("model")
    SCOPES: ClassVar[tuple[Scope, ...]] = ("model",)
    HINTS: ClassVar[Sequence[Hint]] = (
        Hint("table.open"), Hint("model.scale"), Hint("model.edit"), Hint("model.logs"), Hint("model.test"),
        Hint("model.why"), Hint("model.delete"), *ALWAYS,
    )  # fmt: skip
    READ_ONLY_HINTS: ClassVar[Sequence[Hint]] = (
        Hint("table.open"), Hint("model.logs"), Hint("model.yaml"), Hint("model.why"), *ALWAYS
    )  # fmt: skip
    EMPTY_HINTS: ClassVar[Sequence[Hint]] = (Hint("model.add"), *ALWAYS[1:])

    table = getters.query_one("#models", Table)
    failures = getters.query_one("#failures", Table)

    def body(self) -> ComposeResult:
        yield Table(
            ON_GPUS,
            id="models",
            noun="model",
            fields=FIELDS,
            copies=lambda m: m.name,
            sort="NAME",
            detail=self.model_detail,
        )
        yield Lines(id="first")
        yield Lines(id="box")
        yield Table(
            FAILURES,
            id="failures",
            noun="failure",
            copies=lambda f: f"{f.subject} {f.reason}: {f.message}",
            detail=self.failure_detail,
        )

    def model_detail(self, model: ModelView, size: Size) -> Sequence[Spans]:
        from screens.detail_text import model_detail

        return model_detail(self.view, model, size)

    def failure_detail(self, failure: FailureView, size: Size) -> Sequence[Spans]:
        from screens.detail_text import failure_detail

        return failure_detail(self.view, failure, size)

    def chosen_models(self) -> Sequence[ModelView]:
        return self.table.chosen

    async def as_objects(self) -> object:
        from screens.saved import object_list

        return object_list(await self.objects_of([model.key for model in self.table.rows]))

    def totals(self, wide: bool) -> Fields:
        return totals(self.view, wide)

    def draw(self) -> None:
        view = self.view
        self.table.use(columns_for(view))
        self.table.show(view.models, view.at_s)
        self.query_one("#box", Lines).show(partial(box_lines, view, self.history))
        if not view.models:
            self.query_one("#first", Lines).show(partial(first_run, view))
        self.failures.head = failures_head(view)
        self.failures.show(view.failures, view.at_s)
        self._offer(view.models)

    def _offer(self, models: Sequence[ModelView]) -> None:
        """Without models there is one key that matters; while they are loaded, nobody knows that there are none."""
        first = not models and self.view.context.headline not in LOADING
        if self.has_class("-first") != first:
            self.set_class(first, "-first")
            (self.table if models else self.failures).focus()
            self.refresh_bindings()
        hints = self.READ_ONLY_HINTS if self.app.read_only else self.HINTS
        self.query_one(Hints).offer(hints if models else self.EMPTY_HINTS)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of a row are dead while there is none."""
        if not self.view.models and action in ROW_VERBS:
            return False
        return super().check_action(action, parameters)

    @on(Table.Opened, "#models")
    def open_model(self, event: Table.Opened) -> None:
        self.app.open_model(event.key)

    @on(Table.Opened, "#failures")
    def open_failure(self, event: Table.Opened) -> None:
        """Go to where the failure can be looked into."""
        failure = next((f for f in self.view.failures if f.key == event.key), None)
        if failure and failure.model:
            self.app.open_model(failure.model)
        elif failure and failure.subject.startswith("GPU"):
            self.app.call_next(self.app.run_action, "app.go_gpus")
