"""Changing an AIModel as text: check, look at the difference, apply."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import ClassVar

from textual import getters, on, work
from textual.app import ComposeResult, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.widgets import TextArea

from operator_embed.fleet.fleet import Fleet, FleetError
from operator_embed.fleet.models import Checked, Manifest
from screens.actions import Hint, Scope, bindings
from screens.base import FleetScreen
from screens.confirm import ConfirmDialog
from screens.format import Spans, Tone
from screens.outside import EditorError, edited
from screens.text import title
from screens.widgets.head import Fields
from screens.widgets.hints import Hints
from screens.widgets.pager import Pager
from screens.widgets.panel import Heading
from screens.widgets.text_lines import Line
from screens.yaml_lines import diff_lines, difference, line_of

HANG_CELLS = 8
"""What is left of a long line is no line of YAML."""
NOTHING = Manifest(yaml="", status_yaml="", resource_version="")
WRITING = (Hint("editor.check"), Hint("editor.leave"))
REVIEWING = (Hint("dialog.apply"), Hint("editor.leave", title="go on editing"))
ASKING = (Hint("dialog.apply"), Hint("editor.leave", title="leave it as it is"))
CONFLICTING = (Hint("dialog.apply", title="load the newer text"), Hint("editor.leave", title="go on editing"))


class Stage(Enum):
    """What `enter` is for."""

    WRITING = auto()
    REVIEWING = auto()
    CONFLICTING = auto()


class Editor(TextArea):
    """YAML wants spaces, and escape belongs to the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "indent", show=False),
        Binding("ctrl+home", "ends(False)", show=False),
        Binding("ctrl+end", "ends(True)", show=False),
    ]

    def action_indent(self) -> None:
        """As many spaces as lead to the next level."""
        self.insert(" " * (2 - self.cursor_location[1] % 2))

    def action_ends(self, last: bool) -> None:
        """To the start or the end of the text."""
        self.move_cursor(self.document.end if last else self.document.start)


class EditScreen(FleetScreen):
    """The text of one AIModel, or of a new one when `key` is empty."""

    CSS_PATH = "edit.tcss"
    SCOPES: ClassVar[tuple[Scope, ...]] = ("editor",)
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("editor"),
        *(b for b in bindings("dialog") if isinstance(b, Binding) and b.action == "apply"),
    ]
    HINTS = WRITING

    editor = getters.query_one("#text", Editor)
    about = getters.query_one("#about", Heading)
    found = getters.query_one("#found", Pager)

    def __init__(
        self, fleet: Fleet, key: str, *, text: str = "", field: str = "", outside: bool = False, check: bool = False
    ) -> None:
        """Offer `text` in place of what is stored, with the cursor at `field`; `check` shows the diff at once."""
        super().__init__(fleet)
        self.key = key
        self.name_shown = key.partition("/")[2] or "new model"
        self.offered = text
        self.field = field
        self.outside = outside
        self.check_at_once = check
        self.stored = NOTHING
        self.newer = NOTHING
        self.stage = Stage.WRITING
        self.reviewed = ""

    def body(self) -> ComposeResult:
        yield Editor.code_editor(language="yaml", theme="css", tab_behavior="focus", id="text")
        yield Heading(id="about")
        yield Pager(id="found", wrap=True, hang=HANG_CELLS)

    def on_mount(self) -> None:
        super().on_mount()
        self.open()

    def totals(self, wide: bool) -> Fields:
        model = next((m for m in self.view.models if m.key == self.key), None)
        return title(f"Models > {self.name_shown} > edit", f"generation {model.generation}" if model else "")

    @property
    def only_asks(self) -> bool:
        """Whether this is a question about a text of somebody else, which `esc` answers with no."""
        return self.check_at_once and self.editor.text == self.offered

    @property
    def is_changed(self) -> bool:
        """Whether leaving would lose something."""
        return self.editor.text not in {self.stored.yaml, self.offered}

    @work
    async def open(self) -> None:
        """Load what is stored, then what the caller wants done with it."""
        if self.key:
            try:
                self.stored = await self.fleet.models.manifest(self.key)
            except FleetError as refusal:
                self.notify(str(refusal), severity="error", markup=False)
        self.editor.text = self.offered or self.stored.yaml
        self.editor.move_cursor((line_of(self.editor.text, self.field), 0))
        self.editor.focus()
        if self.outside:
            self.edit_outside()
        if self.check_at_once:
            self.action_check()

    def edit_outside(self) -> None:
        """Leave the terminal to the user's editor, then show the difference."""
        text, problem = self.editor.text, ""
        try:
            with self.app.suspend():
                try:
                    text = edited(text, self.name_shown)
                except EditorError as error:  # out of `suspend` it would leave the terminal to nobody
                    problem = str(error)
        except SuspendNotSupported as error:
            problem = str(error)
        if problem:
            self.notify(problem, severity="error", markup=False)
        elif text != self.editor.text:
            self.editor.text = text
            self.action_check()

    @work(exclusive=True, group="check")
    async def action_check(self) -> None:
        self.reviewed = self.editor.text
        try:
            checked = await self.fleet.models.check(self.reviewed)
        except FleetError as refusal:
            checked = Checked(errors=(str(refusal),))
        findings: list[Spans] = [*_marked("!", "error", checked.errors), *_marked("~", "warning", checked.warnings)]
        if checked.errors:
            self.tell("Not valid", "nothing was applied", findings)
            self.editor.move_cursor((line_of(self.editor.text, checked.errors[0].partition(":")[0]), 0))
        elif checked.diff:
            text = f"enter applies it{', tab edits it' if self.only_asks else ''}"
            self.tell("Change", text, [*findings, *diff_lines(checked.diff)], Stage.REVIEWING)
        else:
            self.tell("No change", "this is what is stored", findings)

    def tell(self, what: str, text: str, lines: Iterable[Line], stage: Stage = Stage.WRITING) -> None:
        """Show something below the text, and what `enter` does now."""
        self.stage = stage
        self.add_class("-found")
        self.about.say(what, text)
        self.found.show(lines)
        (self.editor if stage is Stage.WRITING else self.found).focus()
        reviewing = ASKING if self.only_asks else REVIEWING
        hints = {Stage.WRITING: WRITING, Stage.REVIEWING: reviewing, Stage.CONFLICTING: CONFLICTING}
        self.query_one(Hints).offer(hints[stage])
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "apply":
            return self.stage is not Stage.WRITING
        return super().check_action(action, parameters)

    def action_apply(self) -> None:
        if self.stage is Stage.REVIEWING:
            self.apply()
        elif self.stage is Stage.CONFLICTING:
            self.take_newer()

    @work(exclusive=True, group="check")
    async def apply(self) -> None:
        """Store the text, if it is still a change of what was opened."""
        version = self.stored.resource_version or None
        try:
            for applied in await self.fleet.models.apply(self.reviewed, resource_version=version):
                self.app.notify(f"{applied.action}: {applied.key}", markup=False)
                for warning in applied.warnings:
                    self.app.notify(warning, severity="warning", markup=False)
        except FleetError as refusal:
            await self.explain(refusal)
            return
        self.dismiss()

    async def explain(self, refusal: FleetError) -> None:
        """Say why nothing was stored; where somebody else was quicker, show what they changed."""
        try:
            now = await self.fleet.models.manifest(self.key) if self.key else self.stored
        except FleetError:
            now = self.stored
        if now.resource_version == self.stored.resource_version:
            self.tell("Refused", "nothing was applied", _marked("!", "error", [str(refusal)]))
            return
        self.newer = now
        lines = [
            *_marked("!", "error", [str(refusal)]),
            (("Theirs:", "muted"),),
            *diff_lines(difference(self.stored.yaml, now.yaml)),
            (("Yours:", "muted"),),
            *diff_lines(difference(self.stored.yaml, self.editor.text)),
        ]
        self.tell("Changed meanwhile", "enter loads the newer text, your edits stay below", lines, Stage.CONFLICTING)

    def take_newer(self) -> None:
        """Go on from what is stored now, with the own edits in sight."""
        mine = difference(self.stored.yaml, self.editor.text)
        self.stored, self.newer, self.offered = self.newer, NOTHING, ""
        self.editor.text = self.stored.yaml
        self.tell("Your edits", "not in the text above any more", diff_lines(mine))

    @on(TextArea.Changed)
    def review_again(self) -> None:
        """What was shown is not what would be applied any more."""
        if self.stage is Stage.REVIEWING and self.editor.text != self.reviewed:
            self.write_on()

    def write_on(self) -> None:
        """Back to the text."""
        self.stage = Stage.WRITING
        self.remove_class("-found")
        self.editor.focus()
        self.query_one(Hints).offer(WRITING)
        self.refresh_bindings()

    @work
    async def action_leave(self) -> None:
        if self.stage is not Stage.WRITING and not self.only_asks:
            self.write_on()
            return
        if self.is_changed:
            loses = await self.app.push_screen_wait(self.question())
            if not loses:
                return
        self.dismiss()

    def question(self) -> ConfirmDialog:
        """Asked before a change is lost."""
        return ConfirmDialog(
            f"Leave {self.name_shown}",
            "The text was changed and is not applied; leaving loses the change.",
            verb="lose it",
            keep="go on editing",
        )


def _marked(mark: str, tone: Tone, texts: Iterable[str]) -> list[Spans]:
    return [((f"{mark} {text}", tone),) for text in texts]
