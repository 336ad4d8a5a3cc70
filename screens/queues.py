"""Queues: what waits, for how long, and what was given up."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import ClassVar

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import BindingType

from operator_embed.fleet.fleet import Fleet
from operator_embed.fleet.queues import QueueView
from screens.actions import Hint, Scope, bindings
from screens.format import Spans, age, count, plural
from screens.queue_actions import QueueActions
from screens.queue_columns import LETTERS, OLD_S, QUEUE_FIELDS, QUEUES, TREND, about_queue
from screens.requests import RequestsScreen
from screens.widgets.detail import Detail
from screens.widgets.head import Fields
from screens.widgets.panel import Heading
from screens.widgets.table import Table


class QueuesScreen(QueueActions):
    """One row a queue, the one that waits longest first; its detail pane is there from the start."""

    CSS_PATH = "queues.tcss"
    SCOPES: ClassVar[tuple[Scope, ...]] = ("queue",)
    BINDINGS: ClassVar[list[BindingType]] = bindings("queue")
    HINTS: ClassVar[Sequence[Hint]] = (
        Hint("table.open", title="requests", wide="requests and dead letters"),
        Hint("queue.scale"),
        Hint("queue.why"),
        Hint("queue.requeue"),
        Hint("queue.purge"),
        Hint("table.filter"),
        Hint("table.sort"),
        Hint("everywhere.allow_changes"),
        Hint("everywhere.help"),
    )

    table = getters.query_one("#queues", Table)

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet)
        self.wanted = ""

    def body(self) -> ComposeResult:
        queues = Table(
            QUEUES,
            id="queues",
            noun="queue",
            fields=QUEUE_FIELDS,
            copies=lambda q: q.key,
            sort="OLDEST",
            detail=lambda queue, size: about_queue(queue, self.history, self.view.at_s, size),
        )
        yield queues
        yield Detail(queues)
        yield Heading("Dead letters", id="letters-head")
        yield Table(LETTERS, id="letters", noun="dead letter", copies=lambda d: d.request_id)

    @property
    def queue(self) -> QueueView | None:
        """The queue under the cursor, as it is now."""
        return next((q for q in self.view.queues if q.key == self.table.cursor), None)

    def totals(self, wide: bool) -> Fields:
        queues = self.view.queues
        oldest_s = max((q.oldest_s for q in queues if q.oldest_s is not None), default=None)
        trend = TREND[max((q.trend for q in queues if q.oldest_s == oldest_s), default=0)].strip()
        oldest: Spans = () if oldest_s is None else (
            (f"  oldest {age(oldest_s)} {trend}".rstrip(), "warning" if oldest_s > OLD_S else ""),
        )  # fmt: skip
        dead = sum(q.dead for q in queues)
        where, _, size = self.view.context.queue.partition(", ")
        engine = where if wide else f"{where.partition(' ')[0]} ok"
        return (
            *(((1, ((f"{plural(len(queues), 'queue')}  ", ""),)),) if wide else ()),
            (1, ((f"{count(sum(q.queued or 0 for q in queues))} queued", ""),)),
            (0, ((f"  {count(sum(q.in_flight or 0 for q in queues))} in flight", ""),)),
            (0, oldest),
            (0, ((f"  {dead} dead", "warning" if dead else "muted"),)),
            (0, ((f"  {', '.join(part for part in (engine, size) if part)}" if where else "", "muted"),)),
        )

    def draw(self) -> None:
        view = self.view
        self.table.note = "No queue yet: it comes with the first model."
        self.table.show(sorted(view.queues, key=attrgetter("name")), view.at_s)
        self.go_to_wanted()
        self.show_letters_of_queue()

    def go_to(self, key: str) -> None:
        """Put the cursor on the queue of an AIModel, now or when it appears."""
        self.wanted = key
        if self.is_mounted:
            self.go_to_wanted()

    def go_to_wanted(self) -> None:
        """Put the cursor where it was asked for, if that is there."""
        if queue := next((q for q in self.view.queues if q.model == self.wanted), None):
            self.wanted = ""
            self.table.select(queue.key)

    @on(Table.Moved, "#queues")
    def show_letters_of_queue(self) -> None:
        """Show the dead letters of the queue under the cursor."""
        self.show_letters(self.queue)

    @on(Table.Opened, "#queues")
    def open_requests(self, event: Table.Opened) -> None:
        self.app.push_screen(RequestsScreen(self.fleet, event.key))

    @on(Table.Opened, "#letters")
    def open_letter(self, event: Table.Opened) -> None:
        if self.queue:
            self.app.push_screen(RequestsScreen(self.fleet, self.queue.key, letter=event.key))
