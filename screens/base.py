"""What all screens on a fleet share: the newest view, head and last line, intents whose refusal is a toast."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import getters, on, work
from textual.app import ComposeResult
from textual.events import ScreenResume
from textual.message import Message
from textual.reactive import var
from textual.screen import Screen

from operator_embed.fleet.fleet import Fleet, FleetError, FleetView
from operator_embed.fleet.models import History
from screens.actions import BY_ID, Hint, Scope, mutating
from screens.format import Spans, Tone, clock
from screens.past import Past
from screens.updated import OutlivesUpdates
from screens.widgets.head import Fields, Head, Tab
from screens.widgets.hints import Hints
from screens.widgets.painted import Kept
from screens.widgets.table import Table

if TYPE_CHECKING:
    from screens.widgets.detail import Cursored

WIDTHS = [(0, "-narrow"), (80, "-normal"), (120, "-wide")]
MOST_TOASTS = 3
HEIGHTS = [(0, "-short"), (20, "-medium"), (36, "-tall")]
ALWAYS = (
    Hint("table.filter"), Hint("everywhere.command_line"), Hint("everywhere.allow_changes"), Hint("everywhere.help"),
    Hint("everywhere.leave"),
)  # fmt: skip
"""End of the last line of a screen with a table; what is dead is left out."""


class FleetApp(OutlivesUpdates[str | None]):
    """The program around the screens: which fleet, and whether the display stands still."""

    HORIZONTAL_BREAKPOINTS = WIDTHS
    VERTICAL_BREAKPOINTS = HEIGHTS
    CSS = """
    SearchIcon { display: none; }
    ToastRack { dock: top; margin: 2 0 0 0; scrollbar-size: 0 0; }
    Toast { margin: 0; padding: 0 1; }
    """
    """No emoji; what is said in passing stands over rows, not over failures."""
    VIEWS: ClassVar[tuple[Tab, ...]] = ()
    """Key, title and action of each view; the action is `go_<mode>`."""

    sample: Path | None = None
    """Where the weights of the sample model are, if they are on this machine."""
    read_only: var[bool] = var(False)
    """Keys that change something are dead."""
    paused: var[FleetView | None] = var(None)
    """The view that is shown while the display is paused."""
    travels: bool = False
    """Whether that is one from the past."""

    def __init__(self, fleet: Fleet, keymap: Mapping[str, str]) -> None:
        super().__init__()
        self.fleet = fleet
        self.past = Past()
        self.keymap = keymap
        """Keys by the id of an action, where they differ from the registry."""
        self.set_keymap(dict(keymap))

    def _refresh_notifications(self) -> None:
        """The newest of what is said in passing: older ones would pile up over rows."""
        for old in [*self._notifications][:-MOST_TOASTS]:
            self._unnotify(old, refresh=False)
        super()._refresh_notifications()

    def key_of(self, action: str) -> str:
        """The first key of an action, as Textual names it."""
        return self.keymap.get(action, BY_ID[action].keys).partition(",")[0]

    def go(self, view: str) -> None:
        """Show a view where it was left; asked for again, its top."""
        raise NotImplementedError

    def lead(self) -> None:
        """Lead the fleet from here, where nobody does; raises `FleetError` when that cannot be."""
        raise NotImplementedError

    def open_model(self, key: str) -> None:
        """Show all about an AIModel; screens do not know each other."""
        raise NotImplementedError

    def open_queue(self, key: str) -> None:
        """Show the queues with the cursor on the one of an AIModel."""
        raise NotImplementedError


def context_end(view: FleetView, paused: bool, wide: bool, read_only: bool = False) -> Spans:
    """Right end of the head: `gpu-01 · box · live   22:41:03`; trouble costs a narrow screen all but the name."""
    context = view.context
    tone: Tone = "error" if context.tone == "error" else "warning" if context.tone == "warning" else ""
    words, tone = (f"PAUSED {clock(view.at_s)}", "warning") if paused else (context.headline, tone)
    if read_only:
        words, tone = (f"{words} · READ-ONLY" if wide else words, tone) if tone else ("READ-ONLY", "warning")
    parts = [context.name, context.kind] if wide or not tone else [context.name]
    names = "".join(f"{part} · " for part in parts if part)
    return ((names, ""), (words, tone), (f"   {clock(view.at_s)}" if wide else "", ""))


class FleetScreen(Screen[None], Kept):
    """A screen on one fleet: `view` is all it knows, `draw` the only place where it draws."""

    SCOPES: ClassVar[tuple[Scope, ...]] = ()
    """Whose actions it has, besides those of its tables and those known everywhere; help lists them."""
    HINTS: ClassVar[Sequence[Hint]] = ALWAYS

    app = getters.app(FleetApp)
    view: var[FleetView] = var(FleetView())

    def __init__(self, fleet: Fleet) -> None:
        super().__init__()
        self.fleet = fleet

    def compose(self) -> ComposeResult:
        yield Head(id="head")
        yield from self.body()
        yield Hints(self.HINTS)

    def body(self) -> ComposeResult:
        """What stands between the head and the last line."""
        yield from ()

    def totals(self, wide: bool) -> Fields:
        """The second line of the head."""
        return ()

    def draw(self) -> None:
        """Show `self.view`."""

    def on_mount(self) -> None:
        self.follow()

    @work
    async def follow(self) -> None:
        async for _ in self.fleet.changes():
            self.take_newest()

    @on(ScreenResume)
    def take_newest(self) -> None:
        """A screen that cannot be seen does nothing; it catches up when it returns."""
        if self.is_current:
            newest = self.fleet.view()
            self.app.past.add(newest)
            self.view = self.app.paused or newest

    def history(self, series: str, span_s: float, points: int) -> History:
        """Samples up to the moment that is shown, as `Fleet.history`."""
        return self.fleet.history(series, span_s, points, self.view.at_s)

    def watch_view(self) -> None:
        paused, read_only, view = self.app.paused is not None, self.app.read_only, self.view
        active = f"go_{self.app.current_mode}"
        self.query_one(Head).show(
            self.app.VIEWS, active, lambda wide: context_end(view, paused, wide, read_only), self.totals
        )
        self.draw()

    def as_text(self) -> str:
        """What is on the screen, as text."""
        return "\n".join(strip.text.rstrip() for strip in self._compositor.render_strips())

    async def as_objects(self) -> object:
        """What the screen is about, as JSON has it: the rows of its first table; raises `FleetError`."""
        from screens.saved import row_object

        table = next(iter(self.query(Table)), None)
        return [row_object(row) for row in table.rows] if table else []

    async def objects_of(self, keys: Collection[str]) -> Sequence[Mapping[str, Any]]:
        """AIModels as they are stored, secrets masked; raises `FleetError`."""
        objects = await self.fleet.models.objects()
        return [o for o in objects if f"{o['metadata']['namespace']}/{o['metadata']['name']}" in keys]

    async def narrow(self, table: Table[Any], text: str) -> None:
        """Show only the rows of a table that match, under the line that says so."""
        table.filter_by(text)
        await self.show_filter_line(Table.Filtering(table, wanted=bool(text)))
        table.focus()

    @on(Table.Filtering)
    async def show_filter_line(self, event: Table.Filtering) -> None:
        """One such line a screen, for the table that asked last."""
        from screens.widgets.filter_line import FaultsLine, FilterLine

        await self.query(FilterLine).remove()
        await self.query(FaultsLine).remove()
        if event.wanted:
            await self.mount(FilterLine(event.table), before=self.query_one(Hints))
        elif event.table.arrangement.only_faults:
            await self.mount(FaultsLine(event.table), before=self.query_one(Hints))

    @on(Table.Detailed)
    async def ask_for_detail(self, event: Table.Detailed) -> None:
        await self.toggle_detail(event.table)

    async def toggle_detail(self, of: Cursored) -> None:
        """Below `of` a pane that says more of its row, or no pane any more; without one nothing is paid for it."""
        from screens.widgets.detail import Detail

        shown = self.query(Detail)
        if shown or of.cursor:
            self.set_class(not shown, "-detail")
            await (shown.remove() if shown else self.mount(Detail(of), after=of))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave out what a read-only context refuses; the fleet refuses it as well."""
        return not (self.app.read_only and action in mutating(self.SCOPES))

    async def _on_message(self, message: Message) -> None:
        """What cannot be imported any more ends neither the screen nor the app."""
        try:
            await super()._on_message(message)
        except ImportError as missing:
            self.app.say_updated(missing)

    async def intend(self, intent: Awaitable[Any]) -> bool:
        """Await an intent; a refusal becomes a toast, and False."""
        try:
            await intent
        except FleetError as refusal:
            self.notify(str(refusal), severity="error", markup=False)
            return False
        return True
