"""The console: wires views, keys and screens to one fleet, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import ClassVar, Protocol

from textual import work
from textual.binding import BindingType

from operator_embed.fleet.fleet import Fleet
from screens.actions import bindings
from screens.base import FleetApp, FleetScreen

VIEWS = {
    "models": ("1", "Models", "screens.models.ModelsScreen"),
    "replicas": ("2", "Replicas", "screens.replicas.ReplicasScreen"),
    "gpus": ("3", "GPUs", "screens.gpus.GpusScreen"),
    "queues": ("4", "Queues", "screens.queues.QueuesScreen"),
    "events": ("5", "Events", "screens.events.EventsScreen"),
}


class Leaving(Protocol):
    """What can become of the models when this console is left."""

    @property
    def leads(self) -> bool:
        """Whether this console's engine runs the models, so that leaving has to be asked about."""

    async def keep_running(self) -> None:
        """Hand over to `uplion serve`; raises `FleetError`, and nothing has changed, when that fails."""

    async def stop_all(self) -> None:
        """Drain and stop all workers."""


class NothingRuns:
    """Leaving a console that leads nothing."""

    leads = False

    async def keep_running(self) -> None:
        return

    async def stop_all(self) -> None:
        return


class Console(FleetApp):
    """The console of one fleet."""

    TITLE = "uplion"
    DEFAULT_MODE = "models"
    VIEWS: ClassVar = tuple((key, title, f"go_{mode}") for mode, (key, title, _) in VIEWS.items())
    BINDINGS: ClassVar[list[BindingType]] = bindings("everywhere")

    def __init__(
        self, fleet: Fleet, *, leaving: Leaving | None = None, keymap: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(fleet)
        for mode, (_, _, place) in VIEWS.items():
            self.add_mode(mode, partial(self.make_view, place))
        self.leaving = leaving or NothingRuns()
        self.set_keymap(dict(keymap or {}))

    def make_view(self, place: str) -> FleetScreen:
        """Import and make a screen, the first time that it is looked at."""
        module, _, name = place.rpartition(".")
        screen: FleetScreen = getattr(import_module(module), name)(self.fleet)
        return screen

    def open_model(self, key: str) -> None:
        from screens.model import ModelScreen

        self.push_screen(ModelScreen(self.fleet, key))

    def open_queue(self, key: str) -> None:
        from screens.queues import QueuesScreen

        self.switch_mode("queues")
        if isinstance(screen := self.screen, QueuesScreen):
            screen.go_to(key)

    def action_go_models(self) -> None:
        self.switch_mode("models")

    def action_go_replicas(self) -> None:
        self.switch_mode("replicas")

    def action_go_gpus(self) -> None:
        self.switch_mode("gpus")

    def action_go_queues(self) -> None:
        self.switch_mode("queues")

    def action_go_events(self) -> None:
        self.switch_mode("events")

    async def action_back(self) -> None:
        """One level up; never leaves the console."""
        if len(self.screen_stack) > 1:
            self.pop_screen()

    async def action_leave(self) -> None:
        if len(self.screen_stack) > 1:
            self.pop_screen()
        else:
            self.exit("keep")

    def action_interrupt(self) -> None:
        self.exit("keep")

    def action_pause(self) -> None:
        """Hold the display, or go on."""
        self.paused = None if self.paused else self.fleet.view()
        if isinstance(self.screen, FleetScreen):
            self.screen.take_newest()

    @work
    async def action_reread(self) -> None:
        await self.fleet.refresh()
