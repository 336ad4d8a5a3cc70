"""Testing a model: a prompt, its streamed answer, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import getters, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.events import Key
from textual.widgets import TextArea
from textual.worker import Worker

from operator_embed.fleet.fleet import Fleet, FleetError
from screens.actions import Hint, Scope, bindings
from screens.base import FleetScreen
from screens.chat_settings import ChatSettingsDialog
from screens.chat_text import Settings, Turn, lines, messages
from screens.pace import joined
from screens.text import title
from screens.widgets.head import Fields
from screens.widgets.pager import Pager

PAUSE_S = 0.08
"""A stream is painted at most this often."""


class Prompt(TextArea):
    """Where the question is typed; enter is the screen's."""

    def on_key(self, event: Key) -> None:
        """Leave enter to the bindings, which send."""
        if event.key == "enter":
            event.prevent_default()


class ChatScreen(FleetScreen):
    """A conversation with one model, through the API node as any client has it."""

    CSS_PATH = "chat.tcss"
    SCOPES: ClassVar[tuple[Scope, ...]] = ("chat",)
    BINDINGS: ClassVar[list[BindingType]] = bindings("chat")
    HINTS = (
        Hint("chat.send"),
        Hint("chat.new_line"),
        Hint("chat.stop"),
        Hint("chat.again"),
        Hint("chat.settings", wide="system prompt, temperature"),
    )

    prompt = getters.query_one("#prompt", Prompt)
    pager = getters.query_one(Pager)

    def __init__(self, fleet: Fleet, key: str) -> None:
        super().__init__(fleet)
        self.key = key
        self.turns: Sequence[Turn] = ()
        self.settings = Settings()
        self.answering: Worker[None] | None = None

    def body(self) -> ComposeResult:
        yield Pager(id="conversation", wrap=True)
        yield Prompt(id="prompt", placeholder="Ask something", compact=True, highlight_cursor_line=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.prompt.focus()

    def totals(self, wide: bool) -> Fields:
        model = next((m for m in self.view.models if m.key == self.key), None)
        state = f"{model.ready}/{model.desired} ready" if model else "deleted"
        return title(f"Models > {self.key.partition('/')[2]} > test", state, *self.settings.says)

    @property
    def is_answering(self) -> bool:
        """Whether an answer is being streamed."""
        return self.answering is not None and self.answering.is_running

    def paint(self, turns: Sequence[Turn]) -> None:
        """Show the conversation as it is now."""
        self.turns = turns
        self.pager.show(lines(turns))

    @work(exclusive=True, group="answer")
    async def ask(self, before: Sequence[Turn], prompt: str) -> None:
        """Stream the answer to one more question."""
        turn = Turn(prompt=prompt)
        self.pager.following = True
        self.paint((*before, turn))
        model = next((m for m in self.view.models if m.key == self.key), None)
        stream = self.fleet.requests.chat(
            model.model if model else self.key.partition("/")[2],
            messages(self.turns, self.settings),
            temperature=self.settings.temperature,
        )
        try:
            async for pieces in joined(stream, PAUSE_S):
                for piece in pieces:
                    turn = turn.plus(piece)
                self.paint((*before, turn))
            turn = turn.end()
        except FleetError as refusal:
            turn = turn.end(str(refusal))
        self.paint((*before, turn))

    def action_send(self) -> None:
        prompt = self.prompt.text.strip()
        if prompt and not self.is_answering:
            self.prompt.clear()
            self.answering = self.ask(self.turns, prompt)

    def action_new_line(self) -> None:
        self.prompt.insert("\n")

    def action_again(self) -> None:
        if self.turns and not self.is_answering:
            self.answering = self.ask(self.turns[:-1], self.turns[-1].prompt)

    def action_stop(self) -> None:
        if self.answering and self.is_answering:
            self.answering.cancel()
            self.paint((*self.turns[:-1], self.turns[-1].stop()))
        else:
            self.app.pop_screen()

    @work
    async def action_settings(self) -> None:
        if settings := await self.app.push_screen_wait(ChatSettingsDialog(self.settings)):
            self.settings = settings
            self.watch_view()
