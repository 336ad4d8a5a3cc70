"""Logs of a model's replicas, as they are written."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partialmethod
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.reactive import reactive

from operator_embed.fleet.fleet import Fleet, FleetError
from screens.actions import Hint, Scope, bindings
from screens.format import plural
from screens.log_lines import KEPT_LINES, LEVELS, SINCE, STEPS, LogBuffer, Look, laid_out, short_names, shown
from screens.pace import joined
from screens.saved import instant
from screens.text import TextScreen, title
from screens.widgets.head import Fields
from screens.widgets.pager import Pager

PAUSE_S = 0.15
"""A flood of lines is painted at most this often."""


class LogsScreen(TextScreen):
    """The newest lines of one replica, or of all that a model has and had."""

    CSS_PATH = "logs.tcss"
    SCOPES: ClassVar[tuple[Scope, ...]] = ("logs",)
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "end_search"), *bindings("logs")]
    HINTS = (
        Hint("everywhere.back"),
        Hint("logs.search"),
        Hint("logs.follow"),
        Hint("logs.wrap"),
        Hint("logs.times"),
        Hint("logs.level"),
        Hint("logs.since_longer", title="since", keys="< >"),
        Hint("logs.columns"),
        Hint("logs.line"),
        Hint("logs.clear"),
        Hint("logs.previous"),
        Hint("everywhere.help"),
    )

    times: reactive[bool] = reactive(True)
    least: reactive[int] = reactive(0)
    """Index into `LEVELS`."""
    since: reactive[int] = reactive(0, always_update=True)
    """Index into `SINCE`; the same one again counts from the new now."""
    columns: reactive[bool] = reactive(False)

    def __init__(self, fleet: Fleet, key: str, *, replica: str = "", previous: bool = False) -> None:
        super().__init__(fleet)
        self.key = key
        self.replica = replica
        self.previous = previous
        self.buffer = LogBuffer()
        self.sources: Sequence[str] = ()
        self.has_read = False
        self.states: frozenset[tuple[str, str]] = frozenset()
        self.not_before_s: float | None = None

    def body(self) -> ComposeResult:
        yield Pager(id="lines", limit=KEPT_LINES)

    def on_mount(self) -> None:
        super().on_mount()
        self.pager.following = True
        self.watch(self.pager, "following", self.say_how, init=False)
        self.watch(self.pager, "wrap", self.say_how, init=False)
        self.read()

    def totals(self, wide: bool) -> Fields:
        of = self.replica or plural(len(self.sources), "replica")
        how = (
            of,
            "previous run" if self.previous else "",
            "follows" if self.pager.following else "stands still",
            f"from {LEVELS[self.least]}" if self.least else "",
            f"since {SINCE[self.since][1]}" if self.since else "",
            "wrapped" if self.pager.wrap else "",
            "columns" if self.columns else "",
        )
        return title(f"Models > {self.key.partition('/')[2]} > logs", *how)

    async def as_objects(self) -> object:
        lines = [entry.line for entry in self.buffer.shown(self.look) if not entry.drawn]
        return [{"time": instant(o.at_s), "replica": o.source, "level": o.level, "text": o.text} for o in lines]

    def draw(self) -> None:
        """Look again for logs whenever a replica that has none yet is in another state."""
        states = frozenset((r.key, r.state) for r in self.view.replicas if r.model == self.key)
        changed = {replica for replica, _ in states - self.states}
        self.states = states
        if self.has_read and not self.replica and changed - set(self.sources):
            self.read()

    def say_how(self) -> None:
        """Name in the head what was chosen."""
        self.watch_view()

    @property
    def look(self) -> Look:
        """What the user chose to see."""
        return Look(
            times=self.times,
            names=short_names(self.sources, self.key.partition("/")[2]),
            least=LEVELS[self.least],
            columns=self.columns,
            not_before_s=self.not_before_s,
        )

    @work(exclusive=True, group="read")
    async def read(self) -> None:
        """Follow the logs until the screen goes, or others are asked for."""
        self.buffer = LogBuffer()
        self.pager.show(())
        try:
            self.sources = (self.replica,) if self.replica else await self.fleet.logs.sources(self.key)
            self.has_read = True
            self.say_how()
            if not self.sources:
                self.tell("No replica has written a log yet; it appears here as soon as one does.")
                return
            lines = self.fleet.logs.follow(self.sources, previous=self.previous, follow=not self.previous)
            async for batches in joined(lines, PAUSE_S):
                look = self.look
                entries = [entry for batch in batches for entry in self.buffer.take(batch)]
                self.pager.extend(laid_out(entry, look) for entry in entries if shown(entry, look))
        except FleetError as refusal:
            self.tell(str(refusal))
            return
        if not len(self.buffer):
            self.tell("There is no previous run." if self.previous else "The log is empty.")

    def tell(self, why: str) -> None:
        """Say why there are no lines."""
        self.pager.extend([((f"  {why}", "muted"),)])

    def lay_out(self) -> None:
        """Show the kept lines as they are wanted now."""
        if self.is_mounted:
            lines = list(self.buffer.lines(self.look))
            self.pager.show(lines)
            if len(self.buffer) and not lines:
                self.tell(f"Of {plural(len(self.buffer), 'line')} none is as chosen: L level, < > since.")
            self.say_how()

    def watch_since(self) -> None:
        span_s = SINCE[self.since][0]
        self.not_before_s = None if span_s is None else self.view.at_s - span_s
        self.lay_out()

    watch_times = watch_least = watch_columns = lay_out

    def action_follow(self) -> None:
        self.pager.following = not self.pager.following

    def action_wrap(self) -> None:
        self.pager.wrap = not self.pager.wrap

    def action_times(self) -> None:
        self.times = not self.times

    def action_level(self) -> None:
        self.least = (self.least + 1) % len(LEVELS)

    def action_columns(self) -> None:
        self.columns = not self.columns

    def action_since_shorter(self) -> None:
        self.since = next((i for i in STEPS if i > self.since), STEPS[-1])

    def action_since_longer(self) -> None:
        self.since = next((i for i in reversed(STEPS) if i < self.since), STEPS[0])

    def _since(self, span: str) -> None:
        self.since = next(i for i, (_, name) in enumerate(SINCE) if name == span)

    action_since_now = partialmethod(_since, "now")
    action_since_start = partialmethod(_since, "start")
    action_since_1_min = partialmethod(_since, "1 min")
    action_since_5_min = partialmethod(_since, "5 min")
    action_since_15_min = partialmethod(_since, "15 min")
    action_since_30_min = partialmethod(_since, "30 min")
    action_since_1_h = partialmethod(_since, "1 h")

    def action_line(self) -> None:
        self.pager.extend([laid_out(self.buffer.draw(self.view.at_s), self.look)])

    def action_clear(self) -> None:
        self.buffer.clear()
        self.pager.show(())

    def action_previous(self) -> None:
        self.previous = not self.previous
        self.say_how()
        self.read()
