"""Saving what is on the screen."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Label
from textual.widgets.input import Selection

from operator_embed.fleet.fleet import FleetError
from screens.base import FleetScreen
from screens.dialog import Dialog
from screens.saved import KINDS, file_name, json_text, write_new


class SaveDialog(Dialog[Path]):
    """Asks for the file; the ending of its name says what it will hold."""

    CSS_PATH = "save.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [("down", "kind(1)"), ("up", "kind(-1)")]

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__("Save what is on the screen", "up down kind   enter save   esc cancel")
        self.file_name = name
        self.folder = folder

    def body(self) -> ComposeResult:
        with Horizontal(classes="field"):
            yield Label("file [ ", markup=False)
            yield Input(self.file_name, id="file", compact=True, select_on_focus=False)
            yield Label("]", markup=False)
        yield Label("\n".join(f"{ending:7}{what}" for ending, what in KINDS.items()), id="kinds", markup=False)
        yield Label(f"in {self.folder}; only you can read it", id="where", markup=False)

    def on_mount(self) -> None:
        """What is typed takes the place of the name, and leaves its ending."""
        self.query_one(Input).selection = Selection(0, len(Path(self.file_name).stem))

    def action_kind(self, step: int) -> None:
        field, endings = self.query_one(Input), list(KINDS)
        path = Path(field.value)
        at = endings.index(path.suffix) + step if path.suffix in endings else 0
        field.value = str(path.with_suffix(endings[at % len(endings)])) if path.name else field.value

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        """The path, when its ending is one that can be written."""
        path = Path(event.value.strip())
        if path.suffix not in KINDS:
            self._refuse(f"the name has to end in {', '.join(KINDS)}")
            return
        try:
            self.dismiss(self.folder / path.expanduser())
        except RuntimeError:
            self._refuse(f"nobody has the home {path.parts[0]}: write the folder in full")

    def _refuse(self, why: str) -> None:
        self.query_one("#where", Label).update(why)


async def save(screen: FleetScreen) -> None:
    """Ask for a file, write it, and say where it is or why it could not be written."""
    app = screen.app
    named = type(screen).__name__.removesuffix("Screen").lower()
    try:
        folder = Path.cwd()
    except FileNotFoundError:
        app.notify("not saved, the folder this console was started in is gone", severity="error", markup=False)
        return
    path = await app.push_screen_wait(SaveDialog(file_name(named, screen.view.at_s), folder))
    if path is None:
        return
    try:
        await asyncio.to_thread(write_new, path, await _held(screen, path.suffix))
    except FileExistsError:
        app.notify(f"not saved, another file has this name: {path}", severity="error", markup=False)
    except OSError as problem:
        app.notify(f"not saved, {problem.strerror}: {path}", severity="error", markup=False)
    except FleetError as refusal:
        app.notify(str(refusal), severity="error", markup=False)
    else:
        app.notify(f"saved: {path}", markup=False)


async def _held(screen: FleetScreen, ending: str) -> str:
    """What a file of this kind holds."""
    if ending == ".json":
        return json_text(await screen.as_objects())
    return screen.app.export_screenshot() if ending == ".svg" else screen.as_text()
