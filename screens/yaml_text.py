"""An AIModel as YAML, to read."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType

from operator_embed.fleet.fleet import Fleet, FleetError
from screens.actions import Hint, Scope, bindings
from screens.text import TextScreen, title
from screens.widgets.head import Fields
from screens.widgets.pager import Pager
from screens.widgets.text_lines import Line
from screens.yaml_lines import yaml_lines

STATUS_TITLE: Line = (("# status, as found by the operator", "muted"),)


class YamlScreen(TextScreen):
    """Spec as stored, secrets masked, then the status."""

    CSS_PATH = "yaml_text.tcss"
    SCOPES: ClassVar[tuple[Scope, ...]] = ("text",)
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "end_search"), *bindings("text")]
    HINTS = (
        Hint("everywhere.back"),
        Hint("text.search"),
        Hint("text.next_match"),
        Hint("text.edit"),
        Hint("everywhere.help"),
    )

    def __init__(self, fleet: Fleet, key: str) -> None:
        super().__init__(fleet)
        self.key = key
        self.generation = -1

    def body(self) -> ComposeResult:
        yield Pager(id="yaml")

    async def as_objects(self) -> object:
        return next(iter(await self.objects_of([self.key])), None)

    def totals(self, wide: bool) -> Fields:
        model = next((m for m in self.view.models if m.key == self.key), None)
        what = f"generation {model.generation}" if model else "deleted"
        return title(f"Models > {self.key.partition('/')[2]} > yaml", what, "read only")

    def draw(self) -> None:
        model = next((m for m in self.view.models if m.key == self.key), None)
        if model is not None and model.version != self.generation:
            self.generation = model.version
            self.read()

    @work(exclusive=True, group="read")
    async def read(self) -> None:
        """Show what is stored now."""
        try:
            manifest = await self.fleet.models.manifest(self.key)
        except FleetError as refusal:
            self.pager.show([((f"! {refusal}", "error"),)])
            return
        self.pager.show([*yaml_lines(manifest.yaml), (), STATUS_TITLE, *yaml_lines(manifest.status_yaml)])

    def action_edit(self) -> None:
        from screens.edit import EditScreen

        self.app.push_screen(EditScreen(self.fleet, self.key))
