"""One conversation with one model: its questions, and answers as they come."""

from __future__ import annotations

from collections.abc import Sequence

from textual import getters, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.worker import Worker

from operator_embed.fleet.fleet import Fleet, FleetError
from screens.chat_text import Settings, Turn, lines, messages
from screens.names import model_names
from screens.pace import joined
from screens.widgets.pager import Pager
from screens.widgets.panel import Heading

PAUSE_S = 0.08
"""A stream is painted at most this often."""


class Conversation(Vertical):
    """What was said so far; its heading is shown where there is another one beside it."""

    pager = getters.query_one(Pager)

    def __init__(self, fleet: Fleet, key: str) -> None:
        super().__init__()
        self.fleet = fleet
        self.key = key
        self.turns: Sequence[Turn] = ()
        self.answering: Worker[None] | None = None

    @property
    def name_of_model(self) -> str:
        """Without its namespace, unless another model has this name too."""
        return model_names(self.fleet.view().models).get(self.key, self.key.partition("/")[2])

    def compose(self) -> ComposeResult:
        yield Heading(self.name_of_model)
        yield Pager(wrap=True)

    @property
    def is_answering(self) -> bool:
        """Whether an answer is being streamed."""
        return self.answering is not None and self.answering.is_running

    def ask(self, prompt: str, settings: Settings) -> None:
        """Ask one more question."""
        self.answering = self._ask(self.turns, prompt, settings)

    def ask_again(self, prompt: str, settings: Settings) -> None:
        """Ask the last question again in place of its answer, or `prompt` where none was asked yet."""
        before, last = self.turns[:-1], self.turns[-1:]
        self.answering = self._ask(before, last[0].prompt if last else prompt, settings)

    def stop(self) -> None:
        """End the answer where it is."""
        if self.answering and self.is_answering:
            self.answering.cancel()
            self._paint((*self.turns[:-1], self.turns[-1].stop()))

    def _paint(self, turns: Sequence[Turn]) -> None:
        self.turns = turns
        self.pager.show(lines(turns))

    @work(exclusive=True, group="answer")
    async def _ask(self, before: Sequence[Turn], prompt: str, settings: Settings) -> None:
        """Stream the answer to one more question."""
        turn = Turn(prompt=prompt)
        self.pager.following = True
        self._paint((*before, turn))
        model = next((m for m in self.fleet.view().models if m.key == self.key), None)
        stream = self.fleet.requests.chat(
            model.model if model else self.name_of_model,
            messages(self.turns, settings),
            temperature=settings.temperature,
        )
        try:
            async for pieces in joined(stream, PAUSE_S):
                for piece in pieces:
                    turn = turn.plus(piece)
                self._paint((*before, turn))
            turn = turn.end()
        except FleetError as refusal:
            turn = turn.end(str(refusal))
        self._paint((*before, turn))
