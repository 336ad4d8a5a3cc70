"""The keys of a queue and of its dead letters; each screen says which queue that is."""

from __future__ import annotations

from collections.abc import Sequence

from textual import getters, work

from operator_embed.fleet.fleet import FleetError
from operator_embed.fleet.models import ModelView
from operator_embed.fleet.queues import DeadLetterView, QueueView
from screens.actions import key_text
from screens.confirm import ConfirmDialog
from screens.format import count, plural
from screens.model_actions import ModelActions
from screens.widgets.panel import Heading
from screens.widgets.table import Table


class QueueActions(ModelActions):
    """A screen on which a queue is chosen, with its dead letters in `#letters` under `#letters-head`."""

    letters = getters.query_one("#letters", Table)
    topic = ""
    """Queue whose letters are shown."""
    seen: tuple[str, int] = ("", -1)
    """Topic and number of letters when they were last read."""

    @property
    def queue(self) -> QueueView | None:
        """The queue that a key is for, as it is now."""
        raise NotImplementedError

    def chosen_models(self) -> Sequence[ModelView]:
        return [m for m in self.view.models if self.queue and m.key == self.queue.model]

    def show_letters(self, queue: QueueView | None) -> None:
        """Read the letters of a queue, when it is another one or has more or fewer than before."""
        if queue is None:
            self.topic, self.seen = "", ("", -1)
            self.show_read(())
        elif (queue.key, queue.dead) != self.seen:
            other = queue.key != self.topic
            self.topic, self.seen = queue.key, (queue.key, queue.dead)
            if other:
                self.show_read(())
            if queue.dead or not other:
                self.read_letters(queue.key)

    @work(exclusive=True, group="letters")
    async def read_letters(self, topic: str) -> None:
        """Show what was given up on a topic."""
        try:
            self.show_read(await self.fleet.queues.dead(topic))
        except FleetError as refusal:
            self.show_read((), note=str(refusal))

    def show_read(self, letters: Sequence[DeadLetterView], *, note: str = "No request was given up.") -> None:
        """Put letters on the screen, or say why there are none."""
        self.letters.note = note
        delete = key_text(self.app.key_of("queue.discard"))
        keys = f"space mark   R requeue   {delete} delete" if letters else ""
        self.query_one("#letters-head", Heading).say("Dead letters", str(len(letters)) if letters else "none", keys)
        self.letters.show(letters, self.view.at_s)

    @property
    def chosen_letters(self) -> Sequence[DeadLetterView]:
        """The dead letters that a key is for; says so where there are none."""
        if not self.letters.chosen:
            self.notify("no dead letters here", markup=False, timeout=3)
        return self.letters.chosen

    @work
    async def action_requeue(self) -> None:
        if letters := self.chosen_letters:
            question = ConfirmDialog(
                f"Requeue {plural(len(letters), 'request')}",
                f"{reasons(letters)}\nThey are tried again, from the first attempt.",
                verb="requeue",
                keep="leave them",
                loses=False,
            )
            topic, keys = self.topic, [letter.key for letter in letters]
            if await self.app.push_screen_wait(question) and await self.intend(self.fleet.queues.requeue(topic, keys)):
                self.read_letters(topic)

    @work
    async def action_discard(self) -> None:
        if letters := self.chosen_letters:
            question = ConfirmDialog(
                f"Delete {plural(len(letters), 'dead letter')}",
                f"{reasons(letters)}\nThe requests and their errors are gone for good.",
                verb="delete",
                keep="keep them",
            )
            topic, keys = self.topic, [letter.key for letter in letters]
            if await self.app.push_screen_wait(question) and await self.intend(self.fleet.queues.discard(topic, keys)):
                self.read_letters(topic)

    @work
    async def action_purge(self) -> None:
        if (queue := self.queue) is None:
            return
        if queue.queued == 0 and not queue.delayed:
            self.notify(f"nothing waits in the queue of {queue.name}", markup=False, timeout=3)
            return
        waiting = "What waits" if queue.queued is None else plural(queue.queued, "queued request")
        flight = (
            ""
            if not queue.in_flight
            else (
                " The one in flight is answered."
                if queue.in_flight == 1
                else f" The {count(queue.in_flight)} in flight are answered."
            )
        )
        question = ConfirmDialog(
            f"Purge the queue of {queue.name}",
            f"{waiting} will be dropped; their clients get an error now.{flight}",
            verb="purge",
            type_name=queue.name,
        )
        if await self.app.push_screen_wait(question):
            await self.intend(self.fleet.queues.purge(queue.key))


def reasons(letters: Sequence[DeadLetterView]) -> str:
    """Which ones, and why they were given up."""
    first = letters[0]
    more = f" and {len(letters) - 1} more" if len(letters) > 1 else ""
    return f"{first.request_id[:8]} ({first.reason}: {first.error}){more}"
