"""Scaling a model: its replicas, or what its autoscaler may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.validation import Integer
from textual.widgets import Input, Label

from operator_embed.fleet.fleet import FleetError
from operator_embed.fleet.models import Models, ModelView, Scale
from screens.dialog import Dialog
from screens.scale_text import changed, invalid, says, scales_itself, was
from screens.widgets.spans import content

MOST_REPLICAS = 100
MOST_BACKLOG = 1_000_000


@dataclass(frozen=True, slots=True)
class Edit:
    """The user would rather edit the text; `field` is where the cursor was."""

    field: str


class ScaleDialog(Dialog[Scale | Edit]):
    """Asks for replicas, or for the autoscaler's bounds; what that would do is seen while typing."""

    CSS_PATH = "scale.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("up", "change(1)"),
        ("down", "change(-1)"),
        ("ctrl+o", "editor"),
    ]

    def __init__(self, models: Models, model: ModelView, *, step: int = 0) -> None:
        self.itself = scales_itself(model)
        super().__init__(f"Scale {model.name}", "")
        self.models = models
        self.model = model
        self.step = step

    @property
    def is_wide(self) -> bool:
        """Whether the screen has room for the long sentences."""
        return self.app.size.width >= 120

    @property
    def has_room(self) -> bool:
        """Whether the dialog has the width that it wants."""
        return self.app.size.width >= 80

    def key_line(self) -> str:
        tab = ["tab next field" if self.is_wide else "tab next"] if self.itself else []
        change = ["up down change"] if self.has_room else []
        keys = (*change, *tab, "enter apply", "ctrl+o editor", "esc cancel")
        return ("   " if self.is_wide else "  ").join(keys)

    def body(self) -> ComposeResult:
        model = self.model
        with Horizontal(id="fields"):
            if self.itself:
                high = model.max_replicas if model.max_replicas is not None else max(model.desired, 1)
                yield from self._field("min", "minReplicas", model.min_replicas or 0, 0, MOST_REPLICAS)
                yield from self._field("max", "maxReplicas", max(0, high + self.step), 0, MOST_REPLICAS)
                yield from self._field(
                    "backlog per replica", "msgBacklogThreshold", model.threshold or 1, 1, MOST_BACKLOG
                )
            else:
                yield from self._field("replicas", "replicas", max(0, model.replicas + self.step), 0, MOST_REPLICAS)
            yield Label("", id="was", markup=False)
        yield Label("", id="says", markup=False)

    @staticmethod
    def _field(title: str, field: str, number: int, low: int, high: int) -> ComposeResult:
        yield Label(f"{title} [ ", markup=False)
        yield Input(str(number), id=field, type="integer", validators=[Integer(low, high)], compact=True)
        yield Label("]", markup=False, classes="end")

    def on_mount(self) -> None:
        if self.itself:
            self.query_one("#maxReplicas").focus()

    def change(self) -> Scale | None:
        """What is typed; `None` while a field holds no number."""
        typed: dict[str, int] = {}
        for field in self.query(Input):
            checked = field.validate(field.value)
            if checked is None or not checked.is_valid:
                return None
            typed[str(field.id)] = int(field.value)
        return Scale(
            replicas=typed.get("replicas"),
            min_replicas=typed.get("minReplicas"),
            max_replicas=typed.get("maxReplicas"),
            threshold=typed.get("msgBacklogThreshold"),
        )

    @on(Input.Changed)
    @work(exclusive=True)
    async def foresee(self) -> None:
        """Show what the typed numbers would do."""
        change = self.change()
        if change is None:
            self._say(f"A whole number is needed: replicas 0 to {MOST_REPLICAS}.")
            return
        self.query_one("#was", Label).update(was(self.model, change, short=not self.has_room))
        if problem := invalid(self.model, change):
            self._say(problem)
            return
        try:
            preview = await self.models.preview(self.model.key, change)
        except FleetError as refusal:
            self._say(str(refusal))
            return
        rows = 8 if self.app.size.height >= 36 else 3
        lines = says(self.model, change, preview, rows=rows, wide=self.is_wide)
        self.query_one("#says", Label).update(content(lines))

    def _say(self, problem: str) -> None:
        self.query_one("#says", Label).update(problem)

    @on(Input.Submitted)
    def apply(self) -> None:
        change = self.change()
        if change is not None and not invalid(self.model, change):
            new = changed(self.model, change)
            self.dismiss(None if new == Scale() else new)

    def action_change(self, step: int) -> None:
        if isinstance(field := self.focused, Input) and field.value.isdecimal():
            field.value = str(max(0, int(field.value) + step))

    def action_editor(self) -> None:
        field = self.focused.id if self.focused else None
        self.dismiss(Edit(field or "replicas"))
