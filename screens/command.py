"""The command line: views, programs of the console and every action by its id, with completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widgets import Input, Label

from screens.format import Spans, fit
from screens.widgets.lines import Lines

SHOWN = 8


def completions(text: str, commands: Mapping[str, str], arguments: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """Whole lines that `text` may become: those that begin with it, then those that hold it."""
    word, space, argument = text.partition(" ")
    if space and word in arguments:
        lines = [f"{word} {value}" for value in arguments[word]]
        needle = f"{word} {argument.strip()}"
        inside = argument.strip()
    else:
        lines, needle = list(commands), text.strip()
        inside = needle
    first = [line for line in lines if line.startswith(needle)]
    return first + [line for line in lines if inside in line and line not in first]


class CommandLine(ModalScreen[str]):
    """Returns the line to run; empty when the user leaves it."""

    CSS_PATH = "command.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "leave"),
        ("tab", "complete"),
        ("down", "step(1)"),
        ("up", "step(-1)"),
    ]

    def __init__(self, commands: Mapping[str, str], arguments: Mapping[str, Sequence[str]]) -> None:
        """`commands` are lines with what they do; `arguments` are the words that may follow some of them."""
        super().__init__()
        self.commands = commands
        self.arguments = arguments
        self.found: Sequence[str] = ()
        self.chosen = 0

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Lines(id="found")
            with Horizontal():
                yield Label(":")
                yield Input(compact=True)

    def on_mount(self) -> None:
        self.query_one(Input).focus()
        self.complete_for("")

    @on(Input.Changed)
    def follow(self, event: Input.Changed) -> None:
        self.complete_for(event.value)

    def complete_for(self, text: str) -> None:
        """List what the line may become."""
        self.found, self.chosen = completions(text, self.commands, self.arguments), 0
        self._draw()

    def _draw(self) -> None:
        first = max(0, self.chosen - SHOWN + 1)
        found = self.query_one("#found", Lines)
        found.styles.height = min(len(self.found), SHOWN)
        found.show(lambda size: self._lines(first, size))

    def _lines(self, first: int, size: Size) -> Sequence[Spans]:
        width = max((cell_len(line) for line in self.found[:SHOWN]), default=0) + 2
        shown = self.found[first : first + SHOWN]
        lines: list[Spans] = []
        for index, line in enumerate(shown, first):
            here = index == self.chosen
            help_ = fit(self.commands.get(line, ""), max(0, size.width - width - 4))
            lines.append(((f" {'>' if here else ' '}{fit(line, width)}", "accent" if here else ""), (help_, "muted")))
        return lines

    def action_step(self, lines: int) -> None:
        if self.found:
            self.chosen = (self.chosen + lines) % len(self.found)
            self._draw()

    def action_complete(self) -> None:
        if self.found:
            line = self.query_one(Input)
            line.value = self.found[self.chosen] + (" " if self.found[self.chosen] in self.arguments else "")
            line.cursor_position = len(line.value)

    @on(Input.Submitted)
    def run(self, event: Input.Submitted) -> None:
        """What is typed if it is a command, else the chosen completion."""
        text = event.value.strip()
        word, _, argument = text.partition(" ")
        known = text in self.commands or argument in self.arguments.get(word, ())
        self.dismiss(text if known or not self.found else self.found[self.chosen])

    def action_leave(self) -> None:
        self.dismiss("")
