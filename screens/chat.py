"""Testing a model: a prompt, its streamed answer, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import ClassVar

from textual import getters, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.events import Key
from textual.widgets import TextArea

from operator_embed.fleet.fleet import Fleet
from screens.actions import Hint, Scope, bindings
from screens.base import FleetScreen
from screens.chat_settings import ChatSettingsDialog
from screens.chat_text import Settings
from screens.conversation import Conversation
from screens.names import model_names
from screens.pick import PickDialog
from screens.text import title
from screens.widgets.head import Fields


class Prompt(TextArea):
    """Where the question is typed; enter is the screen's."""

    def on_key(self, event: Key) -> None:
        """Leave enter to the bindings, which send."""
        if event.key == "enter":
            event.prevent_default()


class ChatScreen(FleetScreen):
    """Asks one model, or two side by side, through the API node as any client does."""

    CSS_PATH = "chat.tcss"
    SCOPES: ClassVar[tuple[Scope, ...]] = ("chat",)
    BINDINGS: ClassVar[list[BindingType]] = bindings("chat")
    HINTS = (
        Hint("chat.send"),
        Hint("chat.new_line"),
        Hint("chat.stop"),
        Hint("chat.again"),
        Hint("chat.settings", wide="system prompt, temperature"),
        Hint("chat.beside"),
    )

    prompt = getters.query_one("#prompt", Prompt)

    def __init__(self, fleet: Fleet, key: str) -> None:
        super().__init__(fleet)
        self.key = key
        self.settings = Settings()

    def body(self) -> ComposeResult:
        with Horizontal(id="conversations"):
            yield Conversation(self.fleet, self.key)
        yield Prompt(id="prompt", placeholder="Ask something", compact=True, highlight_cursor_line=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.prompt.focus()

    @property
    def conversations(self) -> Sequence[Conversation]:
        """The one with the model of this screen, and that beside it."""
        return list(self.query(Conversation))

    @property
    def is_answering(self) -> bool:
        """Whether any answer is being streamed."""
        return any(one.is_answering for one in self.conversations)

    def totals(self, wide: bool) -> Fields:
        model = next((m for m in self.view.models if m.key == self.key), None)
        state = f"{model.ready}/{model.desired} ready" if model else "deleted"
        names = [one.name_of_model for one in self.conversations]
        return title(f"Models > {', '.join(names)} > test", state if len(names) == 1 else "", *self.settings.says)

    def as_text(self) -> str:
        """All that was said, also what is not in sight."""
        return "\n\n".join("\n".join((one.name_of_model, *one.pager.texts)) for one in self.conversations)

    async def as_objects(self) -> object:
        """The conversations, each answer with what it cost."""
        return [
            {"model": one.name_of_model, "turns": [asdict(turn) for turn in one.turns]} for one in self.conversations
        ]

    def action_send(self) -> None:
        prompt = self.prompt.text.strip()
        if prompt and not self.is_answering:
            self.prompt.clear()
            for one in self.conversations:
                one.ask(prompt, self.settings)

    def action_new_line(self) -> None:
        self.prompt.insert("\n")

    def action_again(self) -> None:
        asked = [one.turns[-1].prompt for one in self.conversations if one.turns]
        if asked and not self.is_answering:
            for one in self.conversations:
                one.ask_again(asked[0], self.settings)

    def action_stop(self) -> None:
        if self.is_answering:
            for one in self.conversations:
                one.stop()
        else:
            self.app.pop_screen()

    @work
    async def action_beside(self) -> None:
        """Choose a second model, or be left with one."""
        if beside := self.conversations[1:]:
            await beside[0].remove()
        else:
            others = [model for model in self.view.models if model.key != self.key]
            dialog = PickDialog("A second model beside it", others, model_names(self.view.models))
            if not others:
                self.notify("there is no other model to put beside it", severity="warning")
            elif key := await self.app.push_screen_wait(dialog):
                await self.query_one("#conversations").mount(Conversation(self.fleet, key))
        self.set_class(len(self.conversations) > 1, "-beside")
        self.watch_view()

    @work
    async def action_settings(self) -> None:
        if settings := await self.app.push_screen_wait(ChatSettingsDialog(self.settings)):
            self.settings = settings
            self.watch_view()
