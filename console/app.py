"""The console: wires views, keys and screens to one fleet, and no more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from textual import work
from textual.actions import SkipAction
from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.driver import Driver
from textual.filter import LineFilter
from textual.screen import Screen
from textual.worker import WorkerFailed

from operator_embed.fleet.fleet import Fleet, FleetError, FleetView
from operator_embed.fleet.models import State
from screens.actions import Scope, bindings
from screens.base import FleetApp, FleetScreen
from screens.widgets.ascii import Ascii
from screens.widgets.table import Table

if TYPE_CHECKING:
    from textual.command import Provider

VIEWS = {
    "models": ("1", "Models", "screens.models.ModelsScreen"),
    "replicas": ("2", "Replicas", "screens.replicas.ReplicasScreen"),
    "gpus": ("3", "GPUs", "screens.gpus.GpusScreen"),
    "queues": ("4", "Queues", "screens.queues.QueuesScreen"),
    "events": ("5", "Events", "screens.events.EventsScreen"),
}


SYSTEM_COMMANDS = frozenset({"Theme", "Screenshot"})


def actions_provider() -> type[Provider]:
    """The palette's entries, imported when it is opened."""
    from screens.palette import ActionsProvider

    return ActionsProvider


class Leaving(Protocol):
    """What can become of the models when this console is left."""

    @property
    def leads(self) -> bool:
        """Whether this console's engine runs the models, so that leaving has to be asked about."""

    async def keep_running(self) -> None:
        """Hand over to `uplion serve`; raises `FleetError`, and nothing has changed, when that fails."""

    async def stop_all(self) -> None:
        """Drain and stop all workers."""

    def start(self) -> None:
        """Lead where nobody does; raises `FleetError` when that cannot be."""


class NothingRuns:
    """Leaving a console that leads nothing."""

    leads = False

    async def keep_running(self) -> None:
        return

    async def stop_all(self) -> None:
        return

    def start(self) -> None:
        raise FleetError("this console has no engine; uplion serve leads a box")


class Console(FleetApp):
    """The console of one fleet; its result says what became of the models: `keep`, `stop`, or nothing to decide."""

    TITLE = "uplion"
    CSS_PATH = Path(__file__).parent.parent / "screens" / "models.tcss"
    """Of the first screen: read with the app's own, or all styles would be worked out a second time."""
    DEFAULT_MODE = "models"
    VIEWS: ClassVar = tuple((key, title, f"go_{mode}") for mode, (key, title, _) in VIEWS.items())
    COMMANDS: ClassVar = App.COMMANDS | {actions_provider}
    BINDINGS: ClassVar[list[BindingType]] = bindings("everywhere")

    def __init__(
        self,
        fleet: Fleet,
        *,
        leaving: Leaving | None = None,
        keymap: Mapping[str, str] | None = None,
        ascii_only: bool = False,
        read_only: bool = False,
        on_painted: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`read_only` holds until the user allows changes; `on_painted` is awaited once the first screen stands."""
        super().__init__(fleet, keymap or {})
        self.set_reactive(FleetApp.read_only, read_only or fleet.read_only)
        self._on_painted = on_painted
        for mode, (_, _, place) in VIEWS.items():
            if mode != self.DEFAULT_MODE:
                self.add_mode(mode, partial(self.make_view, place))
        self.leaving = leaving or NothingRuns()
        self.edge = (Ascii(),) if ascii_only else ()

    def on_mount(self) -> None:
        if self._on_painted is not None:
            self.call_after_refresh(self.run_worker, self._on_painted)

    @property
    def crash(self) -> BaseException | None:
        """What ended the console, when that was nobody's wish; of a worker, what it raised."""
        return self._exception.error if isinstance(self._exception, WorkerFailed) else self._exception

    def _fatal_error(self) -> None:
        """Textual's own prints a page of code with the values of all names in it; `crash` is told by who runs us."""
        self._close_messages_no_wait()

    def get_default_screen(self) -> FleetScreen:
        """A mode only once it is made: Textual parses all styles again for the first screen of one."""
        make = partial(self.make_view, VIEWS[self.DEFAULT_MODE][2])
        self.add_mode(self.DEFAULT_MODE, make)
        return make()

    def make_view(self, place: str) -> FleetScreen:
        """Import and make a screen, the first time that it is looked at."""
        module, _, name = place.rpartition(".")
        screen: FleetScreen = getattr(import_module(module), name)(self.fleet)
        return screen

    def get_driver_class(self) -> type[Driver]:
        """Textual's choice, with patience."""
        from textual.drivers.linux_driver import LinuxDriver

        from console.patient import PatientDriver

        chosen = super().get_driver_class()
        return PatientDriver if chosen is LinuxDriver else chosen

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What lines go through on their way to the terminal."""
        return (*super().get_line_filters(), *self.edge)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Of Textual's own commands those that are no key of ours."""
        return (command for command in super().get_system_commands(screen) if command.title in SYSTEM_COMMANDS)

    def open_model(self, key: str) -> None:
        from screens.model import ModelScreen

        self.push_screen(ModelScreen(self.fleet, key))

    def open_queue(self, key: str) -> None:
        from screens.queues import QueuesScreen

        self.go("queues")
        if isinstance(screen := self.screen, QueuesScreen):
            screen.go_to(key)

    def go(self, view: str) -> None:
        if self.current_mode != view:
            self.switch_mode(view)
            return
        for _ in self.screen_stack[1:]:
            self.pop_screen()

    def lead(self) -> None:
        self.leaving.start()

    def action_go_models(self) -> None:
        self.go("models")

    def action_go_replicas(self) -> None:
        self.go("replicas")

    def action_go_gpus(self) -> None:
        self.go("gpus")

    def action_go_queues(self) -> None:
        self.go("queues")

    def action_go_events(self) -> None:
        self.go("events")

    def action_help(self) -> None:
        """The keys of this screen."""
        from screens.help import HelpScreen

        if isinstance(screen := self.screen, FleetScreen) and not isinstance(screen, HelpScreen):
            scopes: tuple[Scope, ...] = (*screen.SCOPES, *(("table",) if screen.query(Table) else ()), "everywhere")
            self.push_screen(HelpScreen(self.fleet, scopes, self.keymap, read_only=self.read_only))

    @work
    async def action_command_line(self) -> None:
        """Ask for a command and run it on the screen below."""
        from console.typed import ask

        await ask(self)

    async def action_back(self) -> None:
        """To now, then one level up; never leaves the console."""
        if self.travels:
            self.look_at(None)
        elif len(self.screen_stack) > 1:
            self.pop_screen()

    def action_leave(self) -> None:
        """One level up; on a view, leave."""
        if len(self.screen_stack) > 1:
            self.pop_screen()
        else:
            self.leave()

    async def action_quit(self) -> None:
        """Textual's own key asks what `q` asks."""
        self.leave()

    def action_interrupt(self) -> None:
        """Copy what is selected; else leave, and the second time without asking."""
        from screens.leave import LeaveDialog

        if self.screen.get_selected_text() or getattr(self.screen.focused, "selected_text", ""):
            raise SkipAction
        if isinstance(dialog := self.screen, LeaveDialog):
            dialog.action_choose("keep")
        else:
            self.leave()

    @work(exclusive=True, group="leave")
    async def leave(self) -> None:
        """Ask what becomes of running models, see to it, and end; where that fails, stay and say why."""
        from screens.leave import LeaveDialog

        if isinstance(self.screen, LeaveDialog):
            return
        if not self.leaving.leads:
            self.exit(None)
            return
        view = self.fleet.view()
        if view.context.leader_pid is None:
            question = LeaveDialog(None, 0)
        elif all(model.state is State.STOPPED for model in view.models):
            await self.leave_with("stop")
            return
        else:
            running = sum(model.ready > 0 for model in view.models)
            question = LeaveDialog(running, sum(model.in_flight or 0 for model in view.models))
        if answer := await self.push_screen_wait(question):
            await self.leave_with("keep" if answer == "keep" else "stop")

    async def leave_with(self, what: Literal["keep", "stop"]) -> None:
        """Leave without asking: what a signal or a lost terminal does with `keep`."""
        self.notify("handing over to uplion serve" if what == "keep" else "stopping: drains for up to 30 s", timeout=30)
        try:
            await (self.leaving.keep_running() if what == "keep" else self.leaving.stop_all())
        except FleetError as refusal:
            self.clear_notifications()
            self.notify(str(refusal), severity="error", markup=False)
        else:
            self.exit(what)

    def action_pause(self) -> None:
        """Hold the display, or go on."""
        self.look_at(None if self.paused else self.fleet.view())

    def action_step_back(self) -> None:
        """Show what was before."""
        self.travel(self.past.before((self.paused or self.fleet.view()).at_s))

    def action_step_forward(self) -> None:
        """Show what came next."""
        self.travel(self.past.after((self.paused or self.fleet.view()).at_s))

    def travel(self, view: FleetView | None) -> None:
        """Hold the display at a view of the past, or where it is when there is none farther on."""
        self.look_at(view or self.paused or self.fleet.view())
        self.travels = True

    def look_at(self, view: FleetView | None) -> None:
        """Hold the display at a view, or go on with the newest."""
        self.paused, self.travels = view, False
        if isinstance(self.screen, FleetScreen):
            self.screen.take_newest()
            self.screen.watch_view()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where changes are allowed there is nothing to allow."""
        return self.read_only if action == "allow_changes" else super().check_action(action, parameters)

    @work
    async def action_allow_changes(self) -> None:
        """Ask, and let this console change what it shows."""
        from screens.confirm import ConfirmDialog

        question = ConfirmDialog(
            f"Allow changes in {self.fleet.view().context.name}",
            "Keys that change something work until this console is left.",
            verb="allow",
            keep="stay read-only",
            loses=False,
        )
        if await self.push_screen_wait(question):
            self.read_only = False

    def watch_read_only(self) -> None:
        """Head and last line say what can be done."""
        if isinstance(screen := self.screen if self.screen_stack else None, FleetScreen) and screen.is_mounted:
            screen.watch_view()
            screen.refresh_bindings()

    @work
    async def action_save(self) -> None:
        from screens.save import save

        if isinstance(screen := self.screen, FleetScreen):
            await save(screen)

    @work
    async def action_reread(self) -> None:
        await self.fleet.refresh()
