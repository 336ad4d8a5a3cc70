"""The requests of one queue: how many wait and run, and in full those that were given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import BindingType

from operator_embed.fleet.fleet import Fleet
from operator_embed.fleet.models import ReplicaView
from operator_embed.fleet.queues import DeadLetterView, QueueView
from screens.actions import Hint, Scope, bindings
from screens.format import Spans, age, count, plural, stale
from screens.queue_actions import QueueActions
from screens.queue_columns import LETTERS
from screens.text import title
from screens.widgets.head import Fields
from screens.widgets.lines import Lines
from screens.widgets.pager import Pager
from screens.widgets.panel import Heading
from screens.widgets.table import Table
from screens.widgets.text_lines import Line


def waiting_lines(queue: QueueView, replicas: Sequence[ReplicaView]) -> Sequence[Spans]:
    """What the queue tells of requests that have no answer yet; it tells how many, not which."""
    oldest = "" if queue.oldest_s is None else f"the oldest for {age(queue.oldest_s)}"
    drains = f"empty in {queue.drain}" if queue.drain.startswith("~") else queue.drain
    busy = [f"{r.key} {r.busy}/{r.slots}" for r in replicas if r.busy is not None and r.slots]
    slots = f"of {plural(queue.slots, 'slot')}" if queue.slots else ""
    rows = (
        ("queued", queue.queued, ", ".join(filter(None, (oldest, drains)))),
        ("delayed", queue.delayed, "tried again later"),
        ("in flight", queue.in_flight, ": ".join(filter(None, (slots, ", ".join(busy))))),
    )
    return [
        ((f" {name:10}", "muted"), (f"{stale(count(number), queue.stale):>6}", ""), (f"   {said}", "muted"))
        for name, number, said in rows
        if number or name != "delayed"
    ]


def letter_lines(letter: DeadLetterView, at_s: float) -> Sequence[Line]:
    """All that is known of one letter."""
    facts = (
        ("request", letter.request_id),
        ("gave up", f"{age(at_s - letter.died_s)} ago, after {plural(letter.attempts, 'attempt')}"),
        ("replica", letter.replica or "-"),
        ("body", f"{count(letter.body_bytes)} bytes"),
        ("reason", letter.reason),
    )
    return [*(((f"{name:9}", "muted"), (text, "")) for name, text in facts), ((letter.error, "warning"),)]


class RequestsScreen(QueueActions):
    """What waits and runs, then dead letters, and below them the one under the cursor."""

    CSS_PATH = "requests.tcss"
    SCOPES: ClassVar[tuple[Scope, ...]] = ("queue",)
    BINDINGS: ClassVar[list[BindingType]] = bindings("queue")
    HINTS: ClassVar[Sequence[Hint]] = (
        Hint("everywhere.back"),
        Hint("table.mark"),
        Hint("queue.requeue"),
        Hint("queue.discard"),
        Hint("table.filter"),
        Hint("everywhere.help"),
    )

    detail = getters.query_one("#letter", Pager)

    def __init__(self, fleet: Fleet, key: str, *, letter: str = "") -> None:
        super().__init__(fleet)
        self.key = key
        self.wanted = letter

    def body(self) -> ComposeResult:
        yield Heading("Requests", id="waiting-head")
        yield Lines(id="waiting")
        yield Heading("Dead letters", id="letters-head")
        yield Table(LETTERS, id="letters", noun="dead letter", copies=lambda d: d.request_id)
        yield Heading("Letter", id="letter-head")
        yield Pager(id="letter", wrap=True)

    @property
    def queue(self) -> QueueView | None:
        """The queue, while there is one."""
        return next((q for q in self.view.queues if q.key == self.key), None)

    def totals(self, wide: bool) -> Fields:
        queue = self.queue
        if queue is None:
            return title(f"Queues > {self.key}", "gone")
        waits = f"{count(queue.queued)} queued"
        flight = f"{count(queue.in_flight)} in flight"
        oldest = "" if queue.oldest_s is None else f"oldest {age(queue.oldest_s)}"
        return title(f"Queues > {queue.name}", waits, flight, oldest)

    def draw(self) -> None:
        queue = self.queue
        replicas = [replica for replica in self.view.replicas if queue and replica.model == queue.model]
        lines = waiting_lines(queue, replicas) if queue else ()
        backlog = queue and (queue.queued or 0) + queue.delayed + (queue.in_flight or 0)
        self.query_one("#waiting-head", Heading).say("Requests", f"{count(backlog)} unanswered" if backlog else "none")
        waiting = self.query_one("#waiting", Lines)
        waiting.styles.height = len(lines)
        waiting.show(lambda size: lines)
        self.show_letters(queue)

    def show_read(self, letters: Sequence[DeadLetterView], *, note: str = "No request was given up.") -> None:
        super().show_read(letters, note=note)
        self.set_class(not letters, "-no-letters")
        if self.wanted and letters:
            self.letters.select(self.wanted)
            self.wanted = ""
        self.show_letter()

    @on(Table.Moved)
    def show_letter(self) -> None:
        """Show the letter under the cursor."""
        letter = self.letters.row
        self.query_one("#letter-head", Heading).say("Letter", letter.request_id if letter else "none")
        self.detail.show(letter_lines(letter, self.view.at_s) if letter else ())
