"""Leaving the console while its models run."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Label

from screens.dialog import Dialog
from screens.format import plural


class Leave(StrEnum):
    """What becomes of the models when their console is left."""

    KEEP = "keep"
    STOP = "stop"


class LeaveDialog(Dialog[Leave]):
    """Asks what shall become of the running models; `None` stays."""

    CSS_PATH = "leave.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [("k", "choose('keep')"), ("s", "choose('stop')")]

    def __init__(self, models: int | None, in_flight: int) -> None:
        """How many models run: `None` while the box is still being started."""
        run = f"{plural(models or 0, 'model')} {'runs' if models == 1 else 'run'}"
        flight = f"{plural(in_flight, 'request')} {'is' if in_flight == 1 else 'are'} in flight"
        what = "the box is being started" if models is None else f"{run}, {flight}"
        super().__init__(f"Leave: {what}", "k is also what a closed terminal does")

    def body(self) -> ComposeResult:
        yield Label(
            "k    keep running   uplion serve takes over; reopen any time\n"
            "s    stop all       drains for up to 30 s, then stops the workers\n"
            "esc  stay\n",
            id="choices",
            markup=False,
        )

    def action_choose(self, what: str) -> None:
        self.dismiss(Leave(what))
